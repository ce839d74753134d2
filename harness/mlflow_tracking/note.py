"""The text that MLflow shows on the page of a study's run, as Markdown."""

import io
import json
from typing import Any

from ruamel.yaml import YAML

from harness.record.ledger import Event

MAX_CHARACTERS = 7900
"""MLflow keeps 8000 of a tag and would cut the closing fence off."""
MAX_TITLE = 200
CUT = "# cut here; the study's ledger has all of it"


def study_note(event: Event) -> str:
    """Note of a study's run: what is searched, how to group its runs, the study's file.

    Args:
        event: The ledger's ``study`` event.
    """
    spec = _spec(event["yaml"])
    goals = [f"{goal['goal']} `{goal['name']}`" for goal in event["objectives"]]
    title = spec.get("title") if isinstance(spec, dict) else None
    heading = " ".join(title.split())[:MAX_TITLE] if title else event["study"]
    lines = [f"# {heading}", "", f"Search: {', '.join(goals)}.", ""]
    space = spec.get("parameters", {}) if isinstance(spec, dict) else {}
    if space:
        lines += ["| parameter | searched over |", "|---|---|"]
        lines += [f"| `{name}` | {_cell(domain)} |" for name, domain in space.items()]
        lines.append("")
    lines += [
        "Runs of one trial differ in their seed alone and share the tag `config_hash`: choose "
        "*Group by* `config_hash` above the runs for means over seeds. All runs of the study: "
        f"`tags.study_id = '{event['study_id']}'`.",
        "",
    ]
    head = "\n".join(lines)
    text = _as_yaml(spec)
    room = MAX_CHARACTERS - len(head) - len(f"```yaml\n\n{CUT}\n```\n")
    if room < 0:  # a space of hundreds of parameters
        return _cut(head, MAX_CHARACTERS - len(CUT) - 2) + "\n"
    if len(text) > room:
        text = _cut(text, room)
    return f"{head}\n```yaml\n{text.rstrip()}\n```\n"


def _cut(text: str, room: int) -> str:
    whole_lines = text[:room].rpartition("\n")[0]
    return f"{whole_lines}\n{CUT}"


def _spec(text: str) -> Any:
    """The study's file from the ledger, which holds it as JSON or as YAML."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def _as_yaml(spec: Any) -> str:
    if isinstance(spec, str):
        return spec
    yaml = YAML()
    yaml.width = 99
    out = io.StringIO()
    yaml.dump(spec, out)
    return out.getvalue()


def _cell(domain: Any) -> str:
    """One domain of the space in a cell of a table."""
    if not isinstance(domain, dict):
        return f"`{json.dumps(domain)}`"
    words = [f"{key} `{json.dumps(value)}`" for key, value in domain.items()]
    return ", ".join(words).replace("|", "\\|")
