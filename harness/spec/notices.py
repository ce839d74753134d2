"""What a study's file says that means less here than in W&B, or not what it seems to mean."""

from collections.abc import Iterator

from harness.spec.study_spec import StudySpec
from harness.yaml.source import YAMLSource
from harness.yaml.text import shown

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
    rule = spec.early_terminate
    if rule.type == "hyperband":
        word = "s" if rule.max_iter is None else "min_iter"
        if word in rule.model_fields_set:
            yield ("early_terminate", word)
