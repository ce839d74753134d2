"""The JSON Schema of a study's file, with which editors complete and check it.

``python -m harness.spec > search_spaces/schema.json`` writes it. It is made from the models and
their docstrings, so the two cannot disagree. It leaves out rules about two places at once (ranges
of fields, conditions, methods); loading the file checks these.
"""

import argparse
import ast
import inspect
import json
import sys
import textwrap
import types
import typing
from collections.abc import Mapping
from dataclasses import is_dataclass
from typing import Any, get_args, get_origin, get_type_hints

from pydantic import BaseModel

from harness.space.fields import cannot_vary
from harness.space.parameters import Choose, Parameter
from harness.spec.canonical import NULL_IS_LEFT_OUT
from harness.spec.early_terminate import EarlyTerminate
from harness.spec.sections import (
    Budget,
    Constraint,
    Failures,
    Metric,
    Resources,
    Scheduler,
)
from harness.spec.study_spec import StudySpec
from trainables.config import TrialConfig, trial_fields
from trainables.config.field_paths import FilePath, choices
from trainables.metrics.metric_keys import BIN_PREFIX
from trainables.registry import SECTIONS, TRAINABLES, PluginError, load_plugins

Schema = dict[str, Any]

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_MODELS: tuple[type[BaseModel], ...] = (
    *(StudySpec, Metric, Constraint, Parameter, Choose),
    *(EarlyTerminate, Budget, Failures, Resources, Scheduler),
)
_BOUNDS = {"gt": "exclusiveMinimum", "ge": "minimum", "lt": "exclusiveMaximum", "le": "maximum"}
_BINS = f"^(final/)?{BIN_PREFIX}/[0-9]{{2}}$"
_GROUPS = "^(source|target)_val/pck_05_[a-z0-9_]+$"  # of any skeleton
_CONSTANT: Schema = {
    "oneOf": [{"required": ["value"]}, {"required": ["values"]}],
    "properties": {"values": {"maxItems": 1}, "when": False, "probabilities": False},
}
_FORMS: list[Schema] = [
    {"required": ["value"]},
    {"required": ["values"]},
    {"required": ["min", "max"]},
    {"required": ["choose"]},
    {
        "required": ["distribution"],
        "properties": {"distribution": {"pattern": "^(q_)?(normal|log_normal|beta)$"}},
    },
]


def study_schema() -> Schema:
    """The JSON Schema, draft 2020-12."""
    definitions = {model.__name__: _model_schema(model) for model in _MODELS}
    study = definitions.pop("StudySpec")
    _complete(definitions)
    groups = _groups()
    for group in groups:
        definitions[_fields_name(group)] = _fields_schema(group, groups)
        definitions[_parameters_name(group)] = _parameters_schema(group, groups)
    properties = study["properties"]
    for name, inner in (("fixed", _fields_name("")), ("parameters", _parameters_name(""))):
        described = {"description": properties[name]["description"]}
        properties[name] = described | _reference(inner)
    properties["baselines"]["additionalProperties"] = _reference(_fields_name(""))
    properties["method"]["enum"].append("bayes")
    properties["trainable"]["enum"] = list(TRAINABLES)
    properties["metric"] = {
        "description": "The only metric; the same as metrics with one entry.",
        **_reference("Metric"),
    }
    properties["run_cap"] = definitions["Budget"]["properties"]["run_cap"]
    for word in NULL_IS_LEFT_OUT:
        properties[word] = {
            "description": properties[word].pop("description"),
            "anyOf": [properties[word], {"type": "null"}],
        }
    return {
        "$schema": DIALECT,
        "title": "Study",
        "description": "A study of harness.run, or a W&B sweep over the fields of a trial.",
        "type": "object",
        "properties": properties,
        "additionalProperties": False,
        "oneOf": [{"required": ["metrics"]}, {"required": ["metric"]}],
        "$defs": definitions,
    }


def _complete(definitions: Schema) -> None:
    """Add what only validators know: the forms of a parameter, names of metrics and fields."""
    definitions["Parameter"]["oneOf"] = _FORMS
    counts = [name for name, hint in trial_fields().items() if hint is int]
    definitions["Choose"]["properties"]["from"]["oneOf"] = [
        {"type": "array", "items": {"type": "integer", "minimum": 0}, "minItems": 1},
        {"enum": counts},
    ]
    fields = TrialConfig().to_flat() | {"evaluation.bin_count": 0}
    names = dict.fromkeys(name for entry in TRAINABLES.values() for name in entry.metrics(fields))
    patterns = [{"type": "string", "pattern": pattern} for pattern in (_BINS, _GROUPS)]
    definitions["MetricName"] = {"anyOf": [{"enum": list(names)}, *patterns]}
    for model, field in (("Metric", "name"), ("Constraint", "name"), ("EarlyTerminate", "metric")):
        described = definitions[model]["properties"][field]["description"]
        definitions[model]["properties"][field] = {
            "description": described,
            **_reference("MetricName"),
        }


def main() -> None:
    """Print the schema, with what the plugins add that are named on the command line."""
    parser = argparse.ArgumentParser(prog="python -m harness.spec", description=__doc__)
    parser.add_argument("plugins", nargs="*", help="modules whose fields the schema should know")
    try:
        load_plugins(parser.parse_args().plugins)
    except PluginError as error:
        parser.error(str(error))
    json.dump(study_schema(), sys.stdout, indent=1)
    sys.stdout.write("\n")


def _model_schema(model: type[BaseModel]) -> Schema:
    """Schema of one model: types and bounds from pydantic, descriptions from docstrings."""
    made = _standard(model.model_json_schema(ref_template="#/$defs/{model}"))
    docs = _field_docs(model)
    for name, field in model.model_fields.items():
        entry = made["properties"][field.alias or name]
        entry.pop("title", None)
        entry["description"] = docs[name]
        if entry.get("default", 0) is None:
            del entry["default"]
    keep = ("type", "properties", "required", "additionalProperties")
    return {"description": _first_sentence(model), **{k: made[k] for k in keep if k in made}}


def _standard(schema: Any) -> Any:
    """Pydantic's schema with numbers and their bounds as the standard writes them."""
    if isinstance(schema, list):
        return [_standard(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    plain = {_BOUNDS.get(key, key): _standard(value) for key, value in schema.items()}
    options = plain.get("anyOf", [])
    if {"type": "number"} in options:
        options = [option for option in options if option != {"type": "integer"}]
        plain["anyOf"] = options
        if len(options) == 1:
            del plain["anyOf"]
            plain |= options[0]
    return plain


def _groups() -> list[str]:
    """Prefixes of groups of fields, such as ``adapt.``, outer ones first; the empty one is all."""
    found = {""}
    for name in trial_fields():
        words = name.split(".")
        found |= {".".join(words[:length]) + "." for length in range(1, len(words))}
    return sorted(found)


def _fields_schema(group: str, groups: list[str]) -> Schema:
    """Values of the fields of a group, written dotted or nested."""
    docs = _trial_docs()
    properties: Schema = {}
    for inner in groups:
        if inner != group and inner.startswith(group):
            properties[inner[len(group) : -1]] = {
                "description": docs[inner[:-1]],
                **_reference(_fields_name(inner)),
            }
    for name, hint in trial_fields().items():
        if name.startswith(group):
            value = {"description": docs[name], **_type_schema(hint)}
            properties[name[len(group) :]] = value
    return {"type": "object", "properties": properties, "additionalProperties": False}


def _parameters_schema(group: str, groups: list[str]) -> Schema:
    """Parameters of a group, written dotted or as W&B's groups of parameters."""
    docs = _trial_docs()
    properties: Schema = {}
    for inner in groups:
        if inner != group and inner.startswith(group):
            properties[inner[len(group) : -1]] = {
                "description": docs[inner[:-1]],
                "type": "object",
                "properties": {"parameters": _reference(_parameters_name(inner))},
                "required": ["parameters"],
                "additionalProperties": False,
            }
    for name, hint in trial_fields().items():
        if name.startswith(group):
            value, values = _type_schema(hint), {"items": _type_schema(hint)}
            rules: list[Schema] = [{"properties": {"value": value, "values": values}}]
            if cannot_vary(name):
                rules += [_CONSTANT]
            properties[name[len(group) :]] = {
                "description": docs[name],
                "allOf": [_reference("Parameter"), *rules],
            }
    return {"type": "object", "properties": properties, "additionalProperties": False}


def _type_schema(hint: Any) -> Schema:
    """Values that a field accepts, see :func:`trainables.config.field_paths.as_type`."""
    if get_origin(hint) in (types.UnionType, typing.Union):
        inner = next(arg for arg in get_args(hint) if arg is not types.NoneType)
        return {"anyOf": [_type_schema(inner), {"type": "null"}]}
    if (values := choices(hint)) is not None:
        return {"enum": list(values)}
    if get_origin(hint) is tuple:
        return {"type": "array", "items": {"type": "integer"}}
    names = {bool: "boolean", int: "integer", float: "number", str: "string", FilePath: "string"}
    return {"type": names[hint]}


def _trial_docs() -> dict[str, str]:
    """Description of every field of a trial and of every group of them, by dotted name."""
    found: dict[str, str] = {}

    def visit(cls: type[Any], prefix: str) -> None:
        docs = _field_docs(cls)
        for name, hint in get_type_hints(cls).items():
            found[prefix + name] = docs.get(name, "")
            if isinstance(hint, type) and is_dataclass(hint):
                found[prefix + name] = _first_sentence(hint)
                visit(hint, f"{prefix}{name}.")

    visit(TrialConfig, "")
    for prefix, section in SECTIONS.items():
        found[prefix] = _first_sentence(section)
        visit(section, f"{prefix}.")
    return found


def _field_docs(cls: type[Any]) -> Mapping[str, str]:
    """Name of each field of a class, inherited ones too, to its docstring on one line."""
    docs: dict[str, str] = {}
    for part in (cls, *(base for base in cls.__mro__[1:] if is_dataclass(base))):
        tree = ast.parse(textwrap.dedent(inspect.getsource(part)))
        body = typing.cast(ast.ClassDef, tree.body[0]).body
        for field, text in zip(body, body[1:], strict=False):
            if not isinstance(field, ast.AnnAssign) or not isinstance(field.target, ast.Name):
                continue
            if isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant):
                doc = " ".join(str(text.value.value).split()).replace("``", "")
                docs.setdefault(field.target.id, doc)
    return docs


def _first_sentence(cls: type[Any]) -> str:
    first = (inspect.getdoc(cls) or "").split("\n\n")[0]
    return " ".join(first.split()).replace("``", "")


def _reference(name: str) -> Schema:
    return {"$ref": f"#/$defs/{name}"}


def _fields_name(group: str) -> str:
    return f"{group}fields"


def _parameters_name(group: str) -> str:
    return f"{group}parameters"
