"""One searched parameter as the YAML writes it, in the words of W&B sweeps.

``value``, ``values`` (with ``probabilities``), ``min``, ``max``, ``distribution``, ``q``, ``mu``,
``sigma``, ``a`` and ``b`` mean what they mean in a W&B sweep; ``when`` (active only under a
condition) and ``choose`` (a subset) are additions. What the words mean for a given field is in
:mod:`harness.space.fields`.
"""

import math
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from harness.yaml.text import shown
from harness.yaml.validation import Number, Strict, Whole, problem

Distribution = Literal[
    "constant",
    "categorical",
    "categorical_w_probabilities",
    "int_uniform",
    "uniform",
    "q_uniform",
    "log_uniform",
    "log_uniform_values",
    "q_log_uniform",
    "q_log_uniform_values",
    "inv_log_uniform",
    "inv_log_uniform_values",
    "normal",
    "q_normal",
    "log_normal",
    "q_log_normal",
    "beta",
    "q_beta",
]

Form = Literal["value", "values", "range", "choose", "law"]
"""Which words of a parameter say what it can be. A law is a distribution without ends."""

_FORMS: dict[str, Form] = {
    "constant": "value",
    "categorical": "values",
    "categorical_w_probabilities": "values",
    **dict.fromkeys(("normal", "q_normal", "log_normal", "q_log_normal", "beta", "q_beta"), "law"),
}  # the others are ranges
_LAW_WORDS = {"normal": ("mu", "sigma"), "log_normal": ("mu", "sigma"), "beta": ("a", "b")}
_SUM_TOLERANCE = 1e-5
"""How far from 1 the sum of probabilities may be, as users round them."""

MAX_ITEMS = 100
"""Items that a subset can be chosen from; each is one searched boolean."""


def _items(value: Any) -> Any:
    if isinstance(value, str):
        return value
    if not isinstance(value, list) or not value:
        raise problem((), f"must be a list of items or the name of a field, got {shown(value)}")
    for index, item in enumerate(value):
        is_number = isinstance(item, int | float) and not isinstance(item, bool)
        if not is_number or item < 0 or item % 1:
            raise problem((index,), f"must be a whole number >= 0, got {shown(item)}")
        if item in value[:index]:
            raise problem((index,), f"repeats the item {item}")
        if index >= MAX_ITEMS:
            raise problem((index,), f"is over the {MAX_ITEMS} items that a subset can have")
    return tuple(map(int, value))


class Choose(Strict):
    """A subset of items."""

    from_: Annotated[Any, AfterValidator(_items)] = Field(alias="from")
    """The items, whole numbers; or the field that counts them: then they are 0 to count - 1."""
    min: Annotated[Whole, Field(ge=1)] = 1
    """Fewest items."""
    max: Annotated[Whole, Field(ge=1)] | None = None
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
    """Exactly one of ``value``, ``values``, ``min`` with ``max``, ``choose``, or a law's name."""

    value: Any = None
    """The only value."""
    values: tuple[Any, ...] | None = Field(default=None, strict=False)
    """Values, equally likely unless probabilities are given. A value that is listed twice is twice
    as likely; a grid has it once."""
    probabilities: tuple[Number, ...] | None = Field(default=None, strict=False)
    """Probability of each value; they add up to 1."""
    min: Number | None = None
    """Low end of a range, included; for log_uniform, q_log_uniform and inv_log_uniform the low end
    of the exponent, to the base e."""
    max: Number | None = None
    """High end of a range, included; an exponent where min is one."""
    q: Number | None = None
    """Step of a ``q_`` distribution: values are rounded to the nearest multiple of q, which can
    lie beyond min or max; 1 if left out. In a grid q_uniform counts up from min in steps of q and
    leaves max out."""
    mu: Number | None = None
    """Mean of a normal distribution, or of the logarithm of a log-normal one; 0 if left out."""
    sigma: Number | None = None
    """Standard deviation, of what mu is the mean of; 1 if left out. The outermost hundredth of a
    percent on each side of a normal, log_normal or beta distribution is never drawn."""
    a: Number | None = None
    """First shape of a beta distribution, whose values are from 0 to 1; 1 if left out."""
    b: Number | None = None
    """Second shape of a beta distribution; 1 if left out."""
    distribution: Distribution | None = None
    """None for the one that the other words imply: for a range, ``int_uniform`` if min and max are
    written as whole numbers, ``q_uniform`` if q is given, else ``uniform``."""
    when: dict[str, Any] = Field(default_factory=dict)
    """Parameter to the value, or list of values, for which this parameter is active."""
    choose: Choose | None = None
    """A subset of items."""

    @property
    def form(self) -> Form:
        """Which words say what the parameter can be."""
        if _FORMS.get(self.distribution or "") == "law":
            return "law"
        if self.values is not None:
            return "values"
        if self.choose is not None:
            return "choose"
        return "range" if self.min is not None else "value"

    @property
    def is_log(self) -> bool:
        """Whether the logarithm is uniform.

        It is for an inverse log-uniform range, too: log(1 / x) is uniform where log(x) is.
        """
        return "log_uniform" in (self.distribution or "")

    @property
    def is_exponent(self) -> bool:
        """Whether min and max are exponents to the base e."""
        return self.is_log and not (self.distribution or "").endswith("_values")

    @property
    def range_law(self) -> str:
        """Distribution of a range, given or implied."""
        if self.distribution is not None:
            return self.distribution
        if self.q is not None:
            return "q_uniform"
        return (
            "int_uniform" if isinstance(self.min, int) and isinstance(self.max, int) else "uniform"
        )

    @property
    def is_stepped(self) -> bool:
        """Whether q has a meaning: for the ``q_`` distributions, and where none is given."""
        return self.distribution is None or self.distribution.startswith("q_")

    @property
    def step(self) -> float | None:
        """Step of a ``q_`` distribution; None for the others."""
        if self.distribution is not None and self.is_stepped:
            return 1 if self.q is None else self.q
        return self.q

    def ends(self) -> tuple[float, float]:
        """Smallest and largest value of a range.

        Raises:
            ValidationError: If an exponent is too large for a number.
        """
        assert self.min is not None
        assert self.max is not None
        if not self.is_exponent:
            return self.min, self.max
        is_inverse = (self.distribution or "").startswith("inv_")
        low, high = (-self.max, -self.min) if is_inverse else (self.min, self.max)
        try:
            ends = math.exp(low), math.exp(high)
        except OverflowError:
            ends = 0.0, math.inf
        if ends[0] == 0 or math.isinf(ends[1]):
            raise problem(
                ("distribution",),
                f"{self.distribution} takes exponents to the base e, and e to the power of "
                f"{low} or {high} is not a finite number; for the ends themselves write "
                f"{self.distribution}_values",
            )
        return ends

    @model_validator(mode="after")
    def _one_form(self) -> "Parameter":
        forms = [name for name in ("values", "choose") if getattr(self, name) is not None]
        forms += ["min and max"] if self.min is not None or self.max is not None else []
        forms += ["value"] if "value" in self.model_fields_set else []
        is_law = self.form == "law"
        if is_law and forms:
            raise problem(("distribution",), f"{self.distribution} goes without {forms[0]}")
        if len(forms) != 1 and not is_law:
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
        self._check_range()
        self._check_law()
        self._check_probabilities()
        return self

    def _check_distribution(self) -> None:
        needed = _FORMS.get(self.distribution or "", "range" if self.distribution else self.form)
        if self.form != needed:
            words = "min and max" if needed == "range" else needed
            raise problem(("distribution",), f"{self.distribution} needs {words}")
        if self.q is not None and not (self.form in ("range", "law") and self.is_stepped):
            raise problem(("q",), "goes only with the q_ distributions, such as q_uniform")
        if self.q is not None and self.q <= 0:
            raise problem(("q",), f"must be > 0, got {self.q}")

    def _check_range(self) -> None:
        if self.min is None or self.max is None:
            return
        if self.min >= self.max:
            hint = "; write value for a single value" if self.min == self.max else ""
            raise problem(
                ("min",), f"must be below max, got min {self.min} and max {self.max}{hint}"
            )
        if self.is_log and not self.is_exponent and self.min <= 0:
            raise problem(("min",), f"must be > 0 for {self.distribution}, got {self.min}")

    def _check_law(self) -> None:
        known = _LAW_WORDS.get((self.distribution or "").removeprefix("q_"), ())
        for word in ("mu", "sigma", "a", "b"):
            value = getattr(self, word)
            if value is not None and word not in known:
                takers = [law for law, words in _LAW_WORDS.items() if word in words]
                raise problem((word,), f"goes only with {' and '.join(takers)}", at_key=True)
            if value is not None and word != "mu" and value <= 0:
                raise problem((word,), f"must be > 0, got {value}")

    def _check_probabilities(self) -> None:
        if self.probabilities is None:
            if self.distribution == "categorical_w_probabilities":
                raise problem(("distribution",), f"{self.distribution} needs probabilities")
            return
        if self.values is None or self.distribution == "categorical":
            raise problem(("probabilities",), "goes only with values", at_key=True)
        if len(self.probabilities) != len(self.values):
            raise problem(
                ("probabilities",),
                f"must be one for each of the {len(self.values)} values, "
                f"got {len(self.probabilities)}",
            )
        for index, probability in enumerate(self.probabilities):
            if not 0 <= probability <= 1:
                raise problem(("probabilities", index), f"must be from 0 to 1, got {probability}")
        total = math.fsum(self.probabilities)
        if abs(total - 1) > _SUM_TOLERANCE:
            raise problem(("probabilities",), f"must add up to 1, got {total:g}")
