"""Where a study's numbers come from, and how to get them again."""

import shlex

from analysis.report.comparison import Comparison
from analysis.report.page import Section, paragraph, preformatted, subheading, table
from analysis.report.wording import quoted

_ENVIRONMENT = {
    "git_commit": "git commit",
    "python": "Python",
    "torch": "torch",
    "numpy": "NumPy",
    "machine": "machine",
    "device": "device",
}
_UNKNOWN = "not recorded"


def origin_section(found: Comparison) -> Section:
    """Command, commit, versions, seeds, digests of the data, the study's file."""
    study = found.study
    description = study.description
    environment = description["environment"]
    seeds = sorted(set(study.runs["seed"])) if len(study.runs) else []
    file = shlex.quote(f"{study.name}.yaml")
    command = (
        f"Run `python -m harness.confirm` on the study that {quoted(study.name)} confirms."
        if found.is_confirmation
        else f"Save the file below as `{file}`, check out the commit, then run "
        f"`python -m harness.run {file}`. `python -m harness.replay` repeats single runs and "
        "compares their numbers."
    )
    digests = study.digests
    rows = [
        ["study", description["study_id"]],
        *([name, environment.get(key) or _UNKNOWN] for key, name in _ENVIRONMENT.items()),
        ["digest of code and libraries", description["code"]],
        ["seeds", ", ".join(map(str, seeds)) or "none"],
        *([f"digest of the {role}", ", ".join(known)] for role, known in digests.items()),
        ["plugins", ", ".join(description["plugins"]) or "none"],
    ]
    parts = [
        paragraph(command),
        table(["what", "value"], rows, "What the numbers depend on", words=["value"]),
        subheading("The study's file"),
        preformatted(found.study.file),
    ]
    return Section("How to reproduce", "reproduce", tuple(parts))
