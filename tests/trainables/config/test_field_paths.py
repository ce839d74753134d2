"""Types of fields: which hold paths, and annotations that mean nothing here."""

from dataclasses import dataclass
from typing import Annotated

import pytest

from trainables.config.field_paths import FilePath, as_type, field_types, is_path


@dataclass
class Options:
    folder: FilePath
    noted: Annotated[FilePath, "of the studio"]
    maybe: Annotated[FilePath | None, "of the studio"] = None
    title: Annotated[str, "a note"] = ""
    colour: Annotated[str, {"red": 1, "blue": 2}] = "red"


TYPES = field_types(Options, "data.studio.")


@pytest.mark.parametrize(
    ("name", "holds_path"),
    [("folder", True), ("noted", True), ("maybe", True), ("title", False), ("colour", False)],
)
def test_fields_that_hold_paths_are_known_by_their_type(name, holds_path):
    assert is_path(TYPES[f"data.studio.{name}"]) is holds_path


@pytest.mark.parametrize("name", ["folder", "noted", "maybe", "title"])
def test_a_path_and_a_noted_text_are_text(name):
    path = f"data.studio.{name}"
    assert as_type(path, TYPES[path], "a") == "a"
    with pytest.raises(ValueError, match=f"^{path} must be text, got 3$"):
        as_type(path, TYPES[path], 3)


def test_an_annotation_with_names_lists_the_values():
    path = "data.studio.colour"
    with pytest.raises(ValueError, match=f"^{path} must be one of red, blue, got 'green'$"):
        as_type(path, TYPES[path], "green")
