"""What the folder of a model says of it. Free of torch, which takes seconds to import."""

import json
from pathlib import Path
from typing import Any

DESCRIPTION = "model.json"
MODEL_VERSION = 1


def read_description(folder: Path) -> dict[str, Any]:
    """What a model's folder says of it.

    Raises:
        ValueError: If it is not the folder of a model of this version.
    """
    try:
        description = json.loads((folder / DESCRIPTION).read_text())
        version = description["version"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{folder} is not the folder of a model, which a study writes as model/ and which "
            f"holds {DESCRIPTION}: {error}"
        ) from error
    if version != MODEL_VERSION:
        raise ValueError(f"{folder} has a model of version {version}, not {MODEL_VERSION}")
    return dict(description)
