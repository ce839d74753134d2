"""Fields of a trial and their values in few characters, for tables and names."""

from collections.abc import Iterable


def short_names(fields: Iterable[str]) -> dict[str, str]:
    """Field to the last word of its path, or to the path where two fields end alike."""
    fields = list(fields)
    last = [field.rpartition(".")[2] for field in fields]
    return {
        field: word if last.count(word) == 1 else field
        for field, word in zip(fields, last, strict=True)
    }


def value_text(value: object, digits: int = 3) -> str:
    """A field's value in a few characters; members of a subset are joined by ``+``.

    Args:
        value: Value of a field.
        digits: Significant digits of a number.
    """
    if isinstance(value, float):
        return f"{value:.{digits}g}"
    if isinstance(value, list):
        return "+".join(map(str, value))
    return str(value)
