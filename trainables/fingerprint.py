"""One digest over the code that trials run: trainables, plugins and the numeric libraries.

A study records it, so that a resumed study notices changed code; the nodes of a cluster are
compared by it, so that all trials run the same version.
"""

import hashlib
import importlib.util
from importlib.metadata import version
from pathlib import Path

from trainables.registry import plugin_sources

SUFFIXES = (".py", ".npz")
"""Files of the package that can change a trial's numbers: its code, and the meshes it draws."""
LIBRARIES = ("numpy", "torch")
"""Libraries whose version can change a trial's numbers."""


def code_digest(package: Path | None = None) -> str:
    """Digest of trainables and plugins, and of the versions of :data:`LIBRARIES`.

    The digest covers each file's path inside the package and its bytes, so renaming or moving a
    module changes it too. Imports nothing slow.

    Args:
        package: Folder of the source files; None for the ``trainables`` that would be imported.

    Returns:
        SHA-256 as 64 hexadecimal digits.
    """
    root = package or _trainables()
    found = (path for path in root.rglob("*") if path.suffix in SUFFIXES)
    files = [(path.relative_to(root).as_posix(), path) for path in found]
    digest = hashlib.sha256()
    for name, path in (*sorted(files), *plugin_sources()):
        content = path.read_bytes()
        # With the length, bytes moved from the end of one file to the next change the digest.
        digest.update(f"{name} {len(content)}\n".encode())
        digest.update(content)
    for library in LIBRARIES:
        digest.update(f"{library} {version(library)}\n".encode())
    return digest.hexdigest()


def _trainables() -> Path:
    found = importlib.util.find_spec("trainables")
    if found is None or found.origin is None:
        raise ModuleNotFoundError("the package trainables cannot be found", name="trainables")
    return Path(found.origin).parent
