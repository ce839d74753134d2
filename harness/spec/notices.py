"""What the user should know about a valid study file.

Words that mean something else than in W&B, and early termination that can stop a trial before its
method has trained.
"""

import math
from collections.abc import Iterator

from harness.spec.early_terminate import EarlyTerminate
from harness.spec.study_spec import StudySpec
from harness.yaml.source import YAMLSource
from harness.yaml.text import shown
from trainables.config import TrialConfig

_UNUSED = (
    *("program", "command", "project", "entity", "description", "controller", "apiVersion"),
    *("kind", "job", "image_uri", "scheduler"),
)
_UNUSED_OF_METRIC = ("target", "impute", "impute_while_running")


def notices(spec: StudySpec, source: YAMLSource) -> tuple[str, ...]:
    """Sentences for the user, before the study starts.

    Args:
        spec: A valid study.
        source: What it was read from, complete.
    """
    return tuple(_notices(spec, source))


def _notices(spec: StudySpec, source: YAMLSource) -> Iterator[str]:
    if spec.title is not None:
        yield f"{source.place(('title',))}: the study {shown(spec.title)} is named {spec.name}"
    if source.data.get("method") == "bayes":
        yield (
            f"{source.place(('method',))}: method bayes is TPE here, where W&B uses a Gaussian "
            f"process; write gp for one"
        )
    for name, parameter in spec.parameters.items():
        path = ("parameters", name)
        if spec.method == "grid" and parameter.range_law == "q_uniform":
            yield (
                f"{source.place(path)}: {source.written(path)} counts up from min and leaves max "
                f"out, as grids of W&B do"
            )
        if parameter.is_exponent:
            low, high = parameter.ends()
            yield (
                f"{source.place(path)}: {source.written(path)} is searched from {low:.6g} to "
                f"{high:.6g}, as {parameter.distribution} takes exponents to the base e; for the "
                f"ends themselves write {parameter.distribution}_values"
            )
    if warning := _early_stop(spec):
        yield f"{source.place(('early_terminate',))}: warning: {warning}"
    if unused := [source.written(path) for path in _unused(spec, source)]:
        yield f"not used here: {', '.join(unused)}"


def _unused(spec: StudySpec, source: YAMLSource) -> Iterator[tuple[str | int, ...]]:
    for word in _UNUSED:
        if source.data.get(word) is not None:
            yield (word,)
    for index, metric in enumerate(spec.metrics):
        for word in _UNUSED_OF_METRIC:
            if word in metric.model_fields_set:
                yield ("metrics", index, word)
    rule, word = spec.early_terminate, ""
    if rule.type == "hyperband":
        word = "s" if rule.max_iter is None else "min_iter"
    elif rule.over == "bins":
        word = "min_iter"
    if word in rule.model_fields_set:
        yield ("early_terminate", word)


def _early_stop(spec: StudySpec) -> str | None:
    """A warning if a trial can be stopped before its method has trained.

    Baselines are never stopped. Source-only training and the oracle train the same way in both
    phases.
    """
    rule, first = spec.early_terminate, spec.early_terminate.first_stop
    if spec.trainable != "adaptation" or first is None or not spec.parameters:
        return None
    drawn = (TrialConfig.from_flat(p.fields) for p in spec.space.probes if p.baseline is None)
    adapts = [
        trial.adapt
        for trial in drawn
        if trial.adapt.epochs > 0 and trial.adapt.method not in ("source_only", "oracle")
    ]
    pretrained = sorted({adapt.pretrain_epochs for adapt in adapts})
    if not pretrained or first > pretrained[-1]:
        return None
    low, high = pretrained[0], pretrained[-1]
    epochs = f"is {high}" if low == high else f"is from {low} to {high}"
    half = max(adapt.pretrain_epochs + math.ceil(adapt.epochs / 2) for adapt in adapts)
    return (
        f"early_terminate can stop a trial after epoch {first}, before its method has trained "
        f"(adapt.pretrain_epochs {epochs}); to wait for half of the adaptation epochs set "
        f"{_waiting_until(half, rule)}, or stop no trial with early_terminate.type: none"
    )


def _waiting_until(epoch: int, rule: EarlyTerminate) -> str:
    """What to write so that a rule stops no trial before an epoch."""
    words = f"early_terminate.min_iter: {epoch}"
    if rule.type == "wilcoxon":
        return f"{words} with another type"
    if rule.type == "hyperband" and rule.max_iter is not None:
        return f"{words} in place of max_iter and s"
    if rule.max_iter is not None and rule.max_iter < epoch:
        return f"{words} and max_iter: {epoch}"
    return words
