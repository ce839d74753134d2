"""The text that MLflow shows above the runs of a study, as Markdown."""

import json
from collections.abc import Iterable, Iterator
from typing import Any

from harness.mlflow_tracking.contents import run_title
from harness.record.ledger import Event, RunRecord
from harness.results.ranking import RankedTrial, best_result, ranked_trials
from harness.results.result_table import effect_lines, result_table
from harness.results.verdict import as_lines, recorded_verdict
from harness.spec import SpecError, StudySpec, checked_study
from harness.yaml.text import as_yaml

MAX_CHARACTERS = 7900
"""MLflow keeps 8000 of a run's tag and would cut the closing fence off."""
MAX_TITLE = 200
CUT = "# cut here; the study's ledger has all of it"


def study_note(
    study: Event, runs: Iterable[RunRecord] | None = None, figures: Iterable[str] = ()
) -> str:
    """Note of a study: what came out, what is searched, how to read the page, the study's file.

    Args:
        study: The ledger's ``study`` event.
        runs: All runs, if a driver has ended; None while one runs.
        figures: Addresses of the study's figures.
    """
    content = json.loads(study["yaml"])
    title = content.get("title")
    heading = [f"**{' '.join(title.split())[:MAX_TITLE]}**", ""] if title else []
    lines = [*heading, _goals(study), ""]
    if runs is not None:  # first of all, as MLflow shows no more than a line until it is opened
        shown = [line for address in figures for line in (f"![figure]({address})", "")]
        lines = [*_outcome(study, content, list(runs)), *shown, *heading]
    space = content.get("parameters", {})
    if space:
        lines += ["| parameter | searched over |", "|---|---|"]
        lines += [f"| `{name}` | {_cell(domain)} |" for name, domain in space.items()]
        lines.append("")
    lines += [*_how_to_read(study), ""]
    head = "\n".join(lines)
    text = as_yaml(content)
    room = MAX_CHARACTERS - len(head) - len(f"```yaml\n\n{CUT}\n```\n")
    if room < 0:  # a space of hundreds of parameters
        return _cut(head, MAX_CHARACTERS - len(CUT) - 2) + "\n"
    if len(text) > room:
        text = _cut(text, room)
    return f"{head}\n```yaml\n{text.rstrip()}\n```\n"


def _outcome(study: Event, content: Any, runs: list[RunRecord]) -> Iterator[str]:
    """The table of the terminal, what each range of difficulty adds, and how to confirm it.

    Of a confirmation its verdict.
    """
    verdict = recorded_verdict(study, runs)
    if verdict is not None:
        first, *rest = as_lines(verdict)
        yield from (f"**{first}**", "", "```text", *rest, "```", "")
        return
    try:
        spec = checked_study(content, "the results are in the ledger alone")
    except SpecError as error:  # other code recorded it
        yield from (f"{_goals(study)} {error}.", "")
        return
    ranked = ranked_trials(spec, runs)
    if not ranked:
        yield from (f"No trial is complete. {_goals(study)}", "")
        return
    yield from (f"**{_best(spec, best_result(ranked), study)}** {_goals(study)}", "")
    num_pruned = sum(record.state == "pruned" for record in runs)
    yield "```text"
    yield from result_table(spec, ranked)
    yield from effect_lines(spec, ranked, num_pruned)
    yield from ("```", "")
    if study["kind"] == "trial" and spec.trainable == "adaptation":
        yield from (
            f"The search chose its best trials by these values, so they are too good. "
            f"`python -m harness.confirm {study['study']}` trains them again with fresh seeds and "
            "reads the test split.",
            "",
        )


def _goals(study: Event) -> str:
    goals = [f"{goal['goal']} `{goal['name']}`" for goal in study["objectives"]]
    return f"Search: {', '.join(goals)}."


def _best(spec: StudySpec, trial: RankedTrial | None, study: Event) -> str:
    """The best trial in a sentence, with its interval if there are several seeds."""
    if trial is None:
        return "No trial is a result: all break a constraint or train on target labels."
    name = run_title(study, vars(trial.runs[0]), with_seed=False)
    value = f"{spec.objective.name} {trial.means[spec.objective.name]:.4g}"
    if spec.seeds > 1:
        value += " with the 95 % interval [{:.4g}, {:.4g}]".format(*trial.interval)
    return f"Best: {name}, {value}."


def _how_to_read(study: Event) -> Iterator[str]:
    """What the runs are called and how to filter and group them."""
    yield (
        "Charts: the objective at the end of each complete run, keypoint scores of the bins "
        "(00 is the easiest), then curves; bookkeeping comes last. The digits before the names "
        "only sort them: `4 target_val/pck_05` is the metric `target_val/pck_05`."
    )
    yield ""
    yield (
        "Runs with the same `config_hash` differ in their seed alone: *Group by* that tag for "
        "means over seeds. Tags to filter by: `kind` (trial, confirmation, replay, summary), "
        "`method`, `sampling`, `state`, `pruned`, `stage/training` (hit: reused from the cache). "
        f"All runs of the study: `tags.study_id = '{study['study_id']}'`; what they share is in "
        "the run *summary*."
    )


def _cut(text: str, room: int) -> str:
    whole_lines = text[:room].rpartition("\n")[0]
    return f"{whole_lines}\n{CUT}"


def _cell(domain: Any) -> str:
    """One domain of the space in a cell of a table."""
    if not isinstance(domain, dict):
        return f"`{json.dumps(domain)}`"
    words = [f"{key} `{json.dumps(value)}`" for key, value in domain.items()]
    return ", ".join(words).replace("|", "\\|")
