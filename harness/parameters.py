"""One searched parameter as the YAML writes it, in the words of W&B sweeps.

``value``, ``values``, ``min``, ``max``, ``distribution`` and ``q`` mean what they mean in a W&B
sweep; ``when`` (active only under a condition) and ``choose`` (a subset) are additions. What the
words mean for a given field is in :mod:`harness.domains`.
"""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from harness.schema import Number, Strict, problem
from harness.yaml_text import shown

Distribution = Literal[
    "constant",
    "categorical",
    "int_uniform",
    "uniform",
    "q_uniform",
    "log_uniform_values",
    "q_log_uniform_values",
]

MAX_ITEMS = 100
"""Items that a subset can be chosen from; each is one searched boolean."""


def _items(value: Any) -> Any:
    if isinstance(value, str):
        return value
    if not isinstance(value, list) or not value:
        raise problem((), f"must be a list of items or the name of a field, got {shown(value)}")
    for index, item in enumerate(value):
        if not isinstance(item, int) or isinstance(item, bool) or item < 0:
            raise problem((index,), f"must be a whole number >= 0, got {shown(item)}")
        if item in value[:index]:
            raise problem((index,), f"repeats the item {item}")
        if index >= MAX_ITEMS:
            raise problem((index,), f"is over the {MAX_ITEMS} items that a subset can have")
    return tuple(value)


class Choose(Strict):
    """A subset of items, each in or out."""

    from_: Annotated[Any, AfterValidator(_items)] = Field(alias="from")
    """The items, whole numbers; or a field that counts them, then they are 0 to count - 1."""
    min: int = Field(default=1, ge=1)
    """Fewest items."""
    max: int | None = Field(default=None, ge=1)
    """Most items; None for all of them."""

    @model_validator(mode="after")
    def _is_possible(self) -> "Choose":
        if self.max is not None and self.max < self.min:
            raise problem(("max",), f"must be >= min, got min {self.min} and max {self.max}")
        if not isinstance(self.from_, str):
            for word, size in (("min", self.min), ("max", self.max)):
                if size is not None and size > len(self.from_):
                    raise problem(
                        (word,), f"must be at most the {len(self.from_)} items of from, got {size}"
                    )
        return self


class Parameter(Strict):
    """Exactly one of ``value``, ``values``, ``min`` with ``max``, and ``choose``."""

    value: Any = None
    """The only value."""
    values: tuple[Any, ...] | None = Field(default=None, strict=False)
    """Values, each as likely as the others."""
    min: Number | None = None
    """Low end of a range, included."""
    max: Number | None = None
    """High end of a range, included."""
    q: Number | None = None
    """Step of a ``q_`` distribution, whose values are the multiples of q from min to max; 1 if
    left out."""
    distribution: Distribution | None = None
    """None for what the other words imply: for a range, ``int_uniform`` if min and max are
    written as whole numbers, ``q_uniform`` if q is given, else ``uniform``."""
    when: dict[str, Any] = Field(default_factory=dict)
    """Parameter to the value, or list of values, for which this parameter is active."""
    choose: Choose | None = None
    """A subset of items."""

    @property
    def form(self) -> Literal["value", "values", "range", "choose"]:
        """Which words say what the parameter can be."""
        if self.values is not None:
            return "values"
        if self.choose is not None:
            return "choose"
        return "range" if self.min is not None else "value"

    @property
    def is_log(self) -> bool:
        """Whether the logarithm is what is drawn evenly."""
        return self.distribution in ("log_uniform_values", "q_log_uniform_values")

    @property
    def step(self) -> float | None:
        """Step of a ``q_`` distribution; None for the others."""
        if self.distribution in ("q_uniform", "q_log_uniform_values"):
            return 1 if self.q is None else self.q
        return self.q

    @model_validator(mode="after")
    def _one_form(self) -> "Parameter":
        forms = [name for name in ("values", "choose") if getattr(self, name) is not None]
        forms += ["min and max"] if self.min is not None or self.max is not None else []
        forms += ["value"] if "value" in self.model_fields_set else []
        if len(forms) != 1:
            given = " and ".join(forms) if forms else "none"
            raise problem(
                (),
                f"needs one of value, values, min with max, and choose, got {given}",
                at_key=True,
            )
        if (self.min is None) != (self.max is None):
            missing = "min" if self.min is None else "max"
            raise problem((), f"needs a {missing} for its range", at_key=True)
        if self.values is not None and not self.values:
            raise problem(("values",), "must not be empty")
        self._check_distribution()
        return self

    def _check_distribution(self) -> None:
        needed = {"constant": "value", "categorical": "values"}.get(self.distribution or "")
        needed = needed or ("range" if self.distribution else self.form)
        if self.form != needed:
            words = "min and max" if needed == "range" else needed
            raise problem(("distribution",), f"{self.distribution} needs {words}")
        is_stepped = self.distribution in (None, "q_uniform", "q_log_uniform_values")
        if self.q is not None and not (self.form == "range" and is_stepped):
            raise problem(("q",), "goes only with q_uniform and q_log_uniform_values")
        if self.q is not None and self.q <= 0:
            raise problem(("q",), f"must be > 0, got {self.q}")
        if self.min is not None and self.max is not None:
            if self.min >= self.max:
                hint = "; write value for a single value" if self.min == self.max else ""
                raise problem(
                    ("min",), f"must be below max, got min {self.min} and max {self.max}{hint}"
                )
            if self.is_log and self.min <= 0:
                raise problem(("min",), f"must be > 0 for {self.distribution}, got {self.min}")
