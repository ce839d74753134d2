"""What the user at the terminal sees while a study runs.

On a terminal: a live table of the last runs with the best so far, a bar and the time left.
Elsewhere: one plain line per event. Both are ledger subscribers.
"""

import time
from collections.abc import Mapping
from typing import Protocol, TextIO

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from harness.record.field_text import short_names, value_text
from harness.record.ledger import Event, RunRecord
from harness.record.quantities import clock_text
from harness.results.ranking import RankedTrial, best_result, ranked_trials
from harness.spec import StudySpec

SHOWN_RUNS = 12


class Progress(Protocol):
    """A view of a study."""

    def __call__(self, event: Event) -> None:
        """Show an event."""
        ...

    def say(self, text: str) -> None:
        """Show a line of text."""
        ...

    def close(self) -> None:
        """Leave the screen in order."""
        ...


class StudyView:
    """State behind both views.

    Args:
        spec: The study.
        runs: The ledger's records, which it keeps up to date.

    Attributes:
        objective: First optimised metric.
        num_runs: Runs that the study will have; None without an end.
        best: The best trial so far, by the rule of the result; None before there is one.
    """

    def __init__(self, spec: StudySpec, runs: Mapping[int, RunRecord]) -> None:
        self.objective = spec.objective.name
        self.num_runs = None if spec.max_trials is None else spec.max_trials * spec.seeds
        self.runs = runs
        self._spec = spec
        self.best: RankedTrial | None = None
        self._is_ranked = False
        self._started = time.monotonic()
        self._last_seen: dict[int, float] = {}
        self._epoch_s: list[float] = []
        self._num_repeated = 0

    def apply(self, event: Event) -> None:
        """Take an event that the ledger has applied."""
        if event["event"] == "duplicate":
            self._num_repeated += 1
        if event["event"] == "run":
            self._num_repeated = 0
        if not self._is_ranked:  # not before: a ledger of other code is refused until then
            self._is_ranked = True
            self.best = best_result(ranked_trials(self._spec, self.runs.values()))
        elif event["event"] == "finished":
            self._judge(self.runs[event["number"]].trial)
        if event["event"] == "continued":
            self._last_seen.pop(event["number"], None)
        if event["event"] == "epoch":
            # A run's first epoch includes its preparation and says little of the others; one
            # that is reused says nothing.
            is_reused = _is_reused(event, self.runs[event["number"]])
            if event["step"] > 1 and not is_reused and event["number"] in self._last_seen:
                self._epoch_s.append(event["time"] - self._last_seen[event["number"]])
            self._last_seen[event["number"]] = event["time"]

    def _judge(self, trial: int) -> None:
        """Compare a trial with the best so far; ranking all of them would take ever longer."""
        runs = [record for record in self.runs.values() if record.trial == trial]
        if self.best is not None:
            runs += self.best.runs
        self.best = best_result(ranked_trials(self._spec, runs))

    @property
    def begins_to_repeat(self) -> bool:
        """Whether the last suggestion was known already, and the one before was not.

        Those that follow say nothing new to a person.
        """
        return self._num_repeated == 1

    @property
    def elapsed_s(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._started

    @property
    def num_finished(self) -> int:
        """Runs that have ended, however."""
        return sum(record.state != "running" for record in list(self.runs.values()))

    def fraction_done(self) -> float:
        """Share of the study's epochs that have run or will not run any more, in [0, 1].

        Without an end it is 0.
        """
        if self.num_runs is None:
            return 0.0
        done = sum(
            1.0 if record.state != "running" else record.step / max(record.num_steps, 1)
            for record in list(self.runs.values())
        )
        return min(1.0, done / max(self.num_runs, 1))

    def eta_s(self) -> float | None:
        """Seconds left if epochs go on as they went; None before there are any to judge by."""
        running = sum(record.state == "running" for record in list(self.runs.values()))
        length = max((record.num_steps for record in list(self.runs.values())), default=0)
        if not self._epoch_s or not running or self.num_runs is None:
            return None
        mean = sum(self._epoch_s) / len(self._epoch_s)
        return (1 - self.fraction_done()) * self.num_runs * length * mean / running


class PlainProgress:
    """One line per event, for pipes and log files.

    Args:
        view: State to keep.
        stream: Where to write.
    """

    def __init__(self, view: StudyView, stream: TextIO) -> None:
        self._view = view
        self._stream = stream

    def __call__(self, event: Event) -> None:
        """Write an event as a line."""
        self._view.apply(event)
        if event["event"] == "duplicate" and self._view.begins_to_repeat:
            self.say(_duplicate(event))
        if event["event"] not in ("run", "epoch", "continued", "finished"):
            return
        record = self._view.runs[event["number"]]
        match event["event"]:
            case "run":
                text = f"starts: {describe_params(record)}"
            case "continued":
                text = _continued(event)
            case "epoch":
                value = event["metrics"].get(self._view.objective)
                text = f"epoch {record.step}/{record.num_steps}"
                text += f"  {self._view.objective} {_number(value)}{self._left()}"
            case _:
                text = record.state + (f": {record.reason}" if record.reason else "")
        elapsed = clock_text(self._view.elapsed_s)
        self.say(f"[{elapsed}] run {record.number} {record.name} {text}")

    def _left(self) -> str:
        eta = self._view.eta_s()
        return "" if eta is None else f"  about {clock_text(eta)} left"

    def say(self, text: str) -> None:
        """Write a line."""
        print(text, file=self._stream, flush=True)

    def close(self) -> None:
        """Nothing to restore."""


class LiveProgress:
    """A table that is redrawn in place, for terminals.

    Args:
        view: State to keep.
        stream: The terminal.
    """

    def __init__(self, view: StudyView, stream: TextIO) -> None:
        self._view = view
        self._console = Console(file=stream)
        self._live = Live(get_renderable=self._render, console=self._console, refresh_per_second=4)
        self._live.start()

    def __call__(self, event: Event) -> None:
        """Take an event; the next redraw shows it."""
        self._view.apply(event)
        if event["event"] == "continued":
            self.say(f"run {event['number']} {_continued(event)}")
        if event["event"] == "duplicate" and self._view.begins_to_repeat:
            self.say(_duplicate(event))

    def say(self, text: str) -> None:
        """Write a line above the table."""
        self._console.print(text, markup=False, highlight=False)

    def close(self) -> None:
        """Draw a last time and leave the table on the screen."""
        self._live.stop()

    def _render(self) -> Group:
        view = self._view
        table = Table(box=None, pad_edge=False)
        for heading in ("run", "name", "state", "epoch", view.objective, "parameters"):
            is_text = heading in ("name", "state", "parameters")
            table.add_column(
                heading,
                justify="left" if is_text else "right",
                no_wrap=heading != "parameters",
                overflow="ellipsis",
            )
        # Running ones first, then the most recent ones.
        recent = sorted(list(view.runs.values()), key=lambda r: (r.state != "running", -r.number))
        for record in sorted(recent[:SHOWN_RUNS], key=lambda r: r.number):
            table.add_row(
                str(record.number),
                record.name,
                record.state if record.step or record.state != "running" else "preparing",
                f"{record.step}/{record.num_steps}" if record.num_steps else "",
                _number(record.metrics.get(view.objective)),
                describe_params(record),
            )
        best, eta = view.best, view.eta_s()
        of = "" if view.num_runs is None else f"/{view.num_runs}"
        status = f" {view.num_finished}{of} runs  {clock_text(view.elapsed_s)}"
        if eta is not None:
            status += f"  about {clock_text(eta)} left"
        elif view.fraction_done() < 1:
            status += "  starting"
        if best is not None:
            status += f"  best {_number(best.means[view.objective])} ({best.name})"
        bar = Table.grid()
        bar.add_row(ProgressBar(total=1.0, completed=view.fraction_done(), width=30), Text(status))
        return Group(table, bar)


def _continued(event: Event) -> str:
    after = f"after epoch {event['step']}" if event["step"] else "from its start"
    return f"continues {after}: {event['why']}"


def _duplicate(event: Event) -> str:
    return f"trial {event['trial']} is the same as trial {event['of']} and is not run again"


def describe_params(record: RunRecord) -> str:
    """Searched parameters in a few words; subset members as one list."""
    if record.is_baseline:
        return "baseline"
    names = short_names(record.searched)
    texts = (f"{names[field]}={value_text(value)}" for field, value in record.searched.items())
    return "  ".join(texts) or "defaults"


def _is_reused(event: Event, record: RunRecord) -> bool:
    """Whether an epoch's results are those of another run, not trained again."""
    hits = {name for name, stage in event["stages"].items() if stage[0] == "hit"}
    is_pretraining = event["step"] <= record.fields.get("adapt.pretrain_epochs", 0)
    return "training" in hits or ("pretrain" in hits and is_pretraining)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"
