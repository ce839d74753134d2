"""Fixtures of the tests of the harness."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from harness.spec import StudySpec, load_spec


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., StudySpec]:
    """Read a study's text from the file ``s.yaml`` in the working folder, with overrides."""
    monkeypatch.chdir(tmp_path)

    def load_text(text: str, overrides: Sequence[str] = ()) -> StudySpec:
        Path("s.yaml").write_text(text)
        return load_spec("s.yaml", overrides)

    return load_text
