"""From a study's file to a checked :class:`StudySpec`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from harness.spec.canonical import canonical, completed
from harness.spec.checks import check_study
from harness.spec.notices import notices
from harness.spec.study_spec import ALIASES, StudySpec
from harness.yaml.source import SpecError, YAMLSource, apply_override, read_yaml
from harness.yaml.text import YAMLPath
from harness.yaml.validation import problems
from trainables.config import TrialConfig


def load_spec(path: Path | str, overrides: Sequence[str] = ()) -> StudySpec:
    """Load a study file and check it, down to the configurations that it can draw.

    Args:
        path: YAML file.
        overrides: Texts ``path=value``, see :func:`apply_override`, applied in order.

    Raises:
        SpecError: If anything is wrong with the file or an override.
    """
    source = canonical(read_yaml(path))
    try:
        return _loaded(_overridden(source, overrides))
    except SpecError as error:
        raise _blamed(error, source, overrides) from None


def checked_study(content: Mapping[str, Any], failure: str) -> StudySpec:
    """Validate plain data to a study whose parts go together; its trials are not drawn.

    Args:
        content: Sections of a study, in canonical form.
        failure: What cannot be done if the data is wrong: the message starts with it.

    Raises:
        SpecError: If anything is wrong with the data.
    """
    try:
        return _checked(content)
    except ValidationError as error:
        raise SpecError(f"{failure}: {problems(error)[0].sentence}") from None


def _checked(content: Mapping[str, Any]) -> StudySpec:
    spec = StudySpec.model_validate(content)
    check_study(spec)
    return spec


def _overridden(source: YAMLSource, overrides: Sequence[str]) -> YAMLSource:
    for text in overrides:
        aliases = {
            old: new for old, new in ALIASES.items() if new.partition(".")[0] in source.data
        }
        source = canonical(apply_override(source, text, aliases))
    return source


def _loaded(source: YAMLSource) -> StudySpec:
    source = completed(source)
    try:
        spec = _checked(source.data)
    except ValidationError as error:
        first = problems(error)[0]
        sentence = f"{source.written(first.path)} {first.predicate}"
        raise source.error(first.path, sentence, first.at_key) from None
    _check_trials(spec, source)
    spec.note(notices(spec, source))
    return spec


def _blamed(error: SpecError, source: YAMLSource, overrides: Sequence[str]) -> SpecError:
    """The error, placed at the override without which there would be none.

    A value of ``--set`` may be wrong only together with a line of the file, and the check may
    name that line.
    """
    if str(error).startswith("--set "):
        return error
    sentence = str(error).removeprefix(f"{source.file}:").lstrip("0123456789:").lstrip()
    for index in reversed(range(len(overrides))):
        try:
            _loaded(_overridden(source, [*overrides[:index], *overrides[index + 1 :]]))
        except SpecError:
            continue
        text = " ".join(overrides[index].splitlines())
        return SpecError(f"--set {text}: {sentence}")
    return error


def _check_trials(spec: StudySpec, source: YAMLSource) -> None:
    """Build the configurations of baselines and random draws, which checks their fields."""
    for probe in spec.space.probes:
        try:
            TrialConfig.from_flat(probe.fields)
        except ValueError as error:
            raise _invalid_trial(spec, source, probe.baseline, str(error)) from None


def _invalid_trial(
    spec: StudySpec, source: YAMLSource, baseline: str | None, sentence: str
) -> SpecError:
    field = sentence.partition(" ")[0]  # an error of a trial starts with its field
    own: dict[str, Any] = spec.baselines[baseline] if baseline is not None else {}
    if field in spec.fixed and field not in own:
        path: YAMLPath = ("fixed", field)
        return source.error(path, source.written(path) + sentence.removeprefix(field))
    if baseline is not None:
        path = ("baselines", baseline)
        written = (*path, field) if field in own else path
        return source.error(written, f"{source.written(path)} is not a valid trial: {sentence}")
    path = ("parameters", field) if field in spec.parameters else ("parameters",)
    path = path if spec.parameters else ("fixed",)
    subject = source.written(path)
    if field in spec.parameters and spec.parameters[field].is_exponent:
        subject += f", whose {spec.parameters[field].distribution} takes exponents to the base e,"
    return source.error(path, f"{subject} can make a trial that is not valid: {sentence}")
