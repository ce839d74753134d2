"""What a trial is called in tables, notes and figures."""

from harness.record.field_text import short_names, value_text
from harness.record.ledger import RunRecord

_DIGITS = 6
"""Enough to tell the trials of a study apart, whose runs are grouped by this name."""


def trial_label(record: RunRecord) -> str:
    """What a run's trial tries, in words: its baseline's name or its searched parameters."""
    if record.is_baseline:
        return record.trial_name
    searched = {name: value for name, value in record.searched.items() if name != "seed"}
    if record.fields["sampling.strategy"] != "bins":
        searched.pop("bins.subset", None)
    short = short_names(searched)
    parts = (f"{short[name]}={value_text(searched[name], _DIGITS)}" for name in sorted(searched))
    return ", ".join(parts) or record.trial_name
