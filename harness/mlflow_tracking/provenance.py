"""Which code a study ran with: the harness' version and the commit of its checkout."""

import subprocess
from importlib import metadata
from pathlib import Path


def harness_version() -> str:
    """Version of the installed package; empty if it is run without being installed."""
    try:
        return metadata.version("posebins")
    except metadata.PackageNotFoundError:
        return ""


def git_commit() -> str:
    """Commit of the checkout that this package is in, ``+changes`` if it is modified.

    Empty outside git, also where an installed copy happens to lie below another repository.
    """
    here = Path(__file__).resolve().with_name("__init__.py")
    try:
        _git(here.parent, "ls-files", "--error-unmatch", here.name)
        commit = _git(here.parent, "rev-parse", "--short=12", "HEAD")
        return commit + ("+changes" if _git(here.parent, "status", "--porcelain", "-uno") else "")
    except (OSError, subprocess.SubprocessError):
        return ""


def _git(folder: Path, *arguments: str) -> str:
    found = subprocess.run(
        ["git", "-C", str(folder), *arguments],
        capture_output=True, text=True, check=True, timeout=10,
    )  # fmt: skip
    return found.stdout.strip()
