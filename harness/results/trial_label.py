"""What a trial is called in tables, notes and figures."""

from harness.record.ledger import RunRecord


def trial_label(record: RunRecord) -> str:
    """What a run's trial tries, in words: its baseline's name or its searched parameters."""
    if record.is_baseline:
        return record.trial_name
    searched = {name: value for name, value in record.searched.items() if name != "seed"}
    if record.fields["sampling.strategy"] != "bins":
        searched.pop("bins.subset", None)
    short = {name: name.rsplit(".", 1)[-1] for name in searched}
    parts = (
        f"{short[name] if list(short.values()).count(short[name]) == 1 else name}=" + _text(value)
        for name, value in sorted(searched.items())
    )
    return ", ".join(parts) or record.trial_name


def _text(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    return "+".join(map(str, value)) if isinstance(value, list) else str(value)
