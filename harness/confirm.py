"""``python -m harness.confirm STUDY``: train finalists again and read the test split.

The search chose its settings on ``target_val``, once each; a best value found that way is too
good. Here the best settings and every baseline are trained with fresh seeds, and
``target_test`` is read for the first time.
"""

import argparse
import math
import re
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from harness.ledger import SEED_MARK, Event, TrialRecord, read_trials
from harness.preflight import check_data
from harness.results import Study, load_study, setting_name
from harness.run import BAD_INPUT, DONE, INTERRUPTED, TOO_MANY_FAILED, open_storage
from harness.spec import SpecError, StudySpec
from trainables.config import TrialConfig
from trainables.metrics.intervals import mean_interval

if TYPE_CHECKING:
    import pandas as pd

CONFIRMED = "-confirm"
MAX_NAME = 52
"""Characters of a setting's name; with the seed it is the name of a baseline."""
FIRST_SEED = 1000
"""Seeds of a confirmation start here; searches use small ones."""
METRIC = "target_test/pck_05"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m harness.confirm", description=__doc__)
    parser.add_argument("study", help="name of a finished study in the storage")
    parser.add_argument("--top", type=int, default=3, help="best settings to train again")
    parser.add_argument("--seeds", type=int, default=5, help="fresh seeds of each setting")
    parser.add_argument("--storage", type=Path, default=Path("runs"), metavar="DIR")
    parser.add_argument(
        "--set", action="append", default=[], metavar="FIELD=VALUE",
        help="change a field of all of them, e.g. adapt.epochs=6; may be repeated",
    )  # fmt: skip
    options = parser.parse_args(arguments)
    try:
        return _confirm(options)
    except (SpecError, FileNotFoundError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201 - this is the terminal
        return BAD_INPUT
    except KeyboardInterrupt:
        return INTERRUPTED


def _confirm(options: argparse.Namespace) -> int:
    if options.seeds < 1 or options.top < 0:
        raise ValueError(
            f"need --seeds >= 1 and --top >= 0, got {options.seeds} and {options.top}"
        )
    if options.study.endswith(CONFIRMED):
        raise ValueError(f"{options.study} is itself a confirmation; name the study it confirms")
    if not Path(options.storage).expanduser().is_dir():
        raise ValueError(f"--storage {options.storage} is not a folder")
    storage = open_storage(options.storage)
    if not storage.ledger(options.study).is_file():
        known = ", ".join(sorted(p.name for p in storage.root.glob("studies/*"))) or "none"
        raise ValueError(f"no study named {options.study} in {storage.root}; known: {known}")
    description, trials = read_trials(storage.ledger(options.study))
    settings = _settings(trials, options.top, description["goal"] == "maximize")
    if not settings:
        raise ValueError(f"study {options.study} has no complete trial to confirm")
    if description["trainable"] != "adaptation":
        raise ValueError("only adaptation studies have a test split to confirm on")
    changes = dict(_assignment(text) for text in options.set)
    runs = {
        f"{_run_name(record)}{SEED_MARK}{FIRST_SEED + i}": TrialConfig.from_flat(
            {**record.fields, **changes, "seed": FIRST_SEED + i}
        ).to_flat()
        for i in range(options.seeds)
        for record in settings
    }
    spec = _spec(f"{options.study}{CONFIRMED}", description, runs)
    for fields in runs.values():
        check_data(fields)
    _say(f"{len(settings)} settings x {options.seeds} seeds; target_test is read at the end")
    from harness.study import follow_study

    result, _ = follow_study(spec, storage, sys.stdout, read_test=True)
    confirmed = load_study(storage.ledger(result.study_name))
    # What is trained on target labels is no method to be compared with.
    references = [
        record.name
        for record in settings
        if record.is_baseline and record.fields["adapt.method"] != "oracle"
    ]
    for line in verdict(confirmed, references):
        _say(line)
    _say(f"The runs are in {storage.ledger(result.study_name)}")
    if result.was_interrupted:
        return INTERRUPTED
    failed = any(record.state != "complete" for record in result.trials)
    return TOO_MANY_FAILED if failed else DONE


def _settings(trials: dict[int, TrialRecord], top: int, maximize: bool) -> list[TrialRecord]:
    """A trial of each of the best searched settings, then all baselines; complete ones only.

    Trials that differ in their seed alone are one setting, as good as their mean.
    """
    complete = [record for record in trials.values() if record.value is not None]
    seeds: dict[str, list[TrialRecord]] = {}
    for record in complete:
        if not record.is_baseline:
            seeds.setdefault(setting_name(record), []).append(record)
    sign = -1 if maximize else 1
    ranked = sorted(
        seeds.values(),
        key=lambda records: sign * statistics.fmean(record.value or 0.0 for record in records),
    )
    finalists = [records[0] for records in ranked[:top]]
    return finalists + [record for record in complete if record.is_baseline]


def _run_name(record: TrialRecord) -> str:
    """A name for the runs of a setting that says what it is; the trial's number keeps it apart."""
    if record.is_baseline:
        return record.name
    words = re.sub("[^A-Za-z0-9]+", "-", setting_name(record)).strip("-")
    return f"{record.name}_{words}"[:MAX_NAME]


def _assignment(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals:
        raise ValueError(f"--set {text}: write FIELD=VALUE")
    if name.startswith(("data.", "evaluation.")):
        raise ValueError(f"--set {text}: a confirmation keeps the study's data and evaluation")
    if name == "seed":
        raise ValueError(f"--set {text}: a confirmation draws fresh seeds; --seeds says how many")
    try:
        return name, YAML(typ="safe", pure=True).load(value)
    except YAMLError as error:
        raise ValueError(f"--set {text}: {value!r} is not a YAML value") from error


def _spec(name: str, searched: Event, runs: dict[str, dict[str, Any]]) -> StudySpec:
    """A study whose trials are all given and none of which is pruned."""
    # Data and judgement are the same for all trials of a study, and may not differ.
    judging = {
        field: value
        for field, value in next(iter(runs.values())).items()
        if field.startswith(("evaluation.", "data."))
    }
    content = {
        "name": name[:64],
        "trainable": searched["trainable"],
        "metrics": [
            {"name": searched["objective"], "goal": searched["goal"]},
            {"name": METRIC, "goal": "maximize", "role": "report"},
        ],
        "method": "random",
        "fixed": judging,
        "baselines": {
            run: {field: value for field, value in fields.items() if field not in judging}
            for run, fields in runs.items()
        },
        "budget": {"run_cap": len(runs)},
        "resources": searched.get("resources", {}),
    }
    return StudySpec.model_validate(content)


def verdict(confirmed: Study, references: Sequence[str]) -> list[str]:
    """The test split in words: each setting's mean and interval, and its paired difference.

    Args:
        confirmed: The confirmation, read back.
        references: Baselines among its settings; differences are to the best of them.

    Returns:
        Lines for the terminal.
    """
    values = confirmed.trials[["number", "config", "seed"]].assign(
        pck=confirmed.trials["number"].map(confirmed.final(METRIC))
    )
    table = values.dropna().pivot(index="seed", columns="config", values="pck")
    if table.empty:
        return ["no run reported the test split"]
    means = table.mean().sort_values(ascending=False)
    known = [name for name in references if name in means]
    reference = max(known, key=lambda name: means[name], default=None)
    width = max(map(len, means.index))
    lines = [f"{METRIC}, mean and 95 % interval over {len(table)} seeds:"]
    for name, mean in means.items():
        seeds = table[name].dropna()
        line = f"  {name:<{width}}  {mean:6.2f} {_interval(seeds)}"
        if len(seeds) < len(table):
            line += f" from {len(seeds)} seeds"
        if reference is not None and name != reference:
            gaps = (table[name] - table[reference]).dropna()
            low, high = mean_interval(gaps)
            line += f"  {gaps.mean():+.2f} {_interval(gaps)} against {reference}"
            if not (low > 0 or high < 0):
                line += ": no difference shown"
        lines.append(line)
    return lines


def _interval(values: "pd.Series[float]") -> str:
    low, high = mean_interval(values)
    return f"[{low:.2f}, {high:.2f}]" if not math.isnan(low) else "[one seed]"


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201 - this is the terminal


if __name__ == "__main__":
    sys.exit(main())
