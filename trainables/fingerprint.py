"""What code trials run: one digest over the trainables and the libraries their numbers come from.

A study keeps it, so that a resumed study notices other code; the nodes of a cluster are compared
by it, so that no trial runs another version than its neighbours.
"""

import hashlib
import importlib.util
from importlib.metadata import version
from pathlib import Path

LIBRARIES = ("numpy", "torch")
"""Libraries whose version can change a trial's numbers."""


def code_digest(package: Path | None = None) -> str:
    """Digest of the trainables' source files and of the versions of :data:`LIBRARIES`.

    A file counts with its path inside the package and its bytes, so that a renamed or a moved
    module changes the digest as an edited one does. Nothing slow is imported.

    Args:
        package: Folder of the source files; None for the ``trainables`` that would be imported.

    Returns:
        SHA-256 as 64 hexadecimal digits.
    """
    root = package or _trainables()
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py"), key=lambda path: path.relative_to(root).as_posix()):
        content = path.read_bytes()
        # The length tells where a file ends: bytes cannot wander from one file to the next.
        digest.update(f"{path.relative_to(root).as_posix()} {len(content)}\n".encode())
        digest.update(content)
    for library in LIBRARIES:
        digest.update(f"{library} {version(library)}\n".encode())
    return digest.hexdigest()


def _trainables() -> Path:
    found = importlib.util.find_spec("trainables")
    if found is None or found.origin is None:
        raise ModuleNotFoundError("the package trainables cannot be found", name="trainables")
    return Path(found.origin).parent
