"""What the documents and docstrings name exists: modules, functions, files, links.

Names are looked up in the syntax trees of the code, so nothing is imported.
"""

import ast
import builtins
import importlib.util
import re
from fnmatch import fnmatch
from functools import cache

import pytest

from harness.spec import load_spec
from tests.conftest import ROOT
from trainables.config import trial_fields

CODE = ("harness", "trainables", "analysis")
FOLDERS = (*CODE, "tests", "search_spaces", "docs")
DOCUMENTS = ["README.md", "DESIGN.md", "CONTRIBUTING.md", "CHANGELOG.md", "pyproject.toml"]
DOCUMENTS += [path.relative_to(ROOT).as_posix() for path in sorted(ROOT.glob("docs/*.md"))]
DOCUMENTS += ["harness/nodes/deploy/README.md"]
OTHER_PEOPLES = {
    "examples/domain_adaptation/keypoint_detection/regda.py",  # tllib
    "train_human.py",  # UDA_PoseEstimation
    "utils/utils.py",  # understanding-curricula
}
"""Files of other projects."""

ROLE = re.compile(r":(mod|func|class|meth|data|attr|exc):`~?([\w.]+)`")
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
QUOTED = re.compile(r"(?<!`)(`{1,2})([^`]+)\1(?!`)")
BLOCK = re.compile(r"```.*?```", re.DOTALL)
DOTTED = re.compile(rf"(?<![\w./-])({'|'.join((*CODE, 'tests'))})((?:\.[A-Za-z_]\w*)+)")
PATH = re.compile(rf"(?<![\w./<-])({'|'.join(FOLDERS)})/[\w./*-]*")
FILE = re.compile(r"[\w./*-]+\.(py|ipynb|md|yaml)")
SHORT = re.compile(r"(?!parameters\.)[a-z_]+(\.\w+)+(?<!\.json)(?<!\.arrow)")
"""``module.function``; a study file's ``parameters.<field>`` looks the same."""
STUDY = re.compile(r"```yaml\n(.*?)```", re.DOTALL)


class Names:
    """Top-level names of a module, and the members of its classes."""

    def __init__(self, path):
        tree = ast.parse(path.read_text())
        self.imported, self.members = {}, {}
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom):
                self.imported |= {a.asname or a.name: (node.module, a.name) for a in node.names}
            elif isinstance(node, ast.ClassDef):
                self.members[node.name] = set(_bound(node.body)) | {
                    n.attr for n in ast.walk(node) if isinstance(n, ast.Attribute)
                    and isinstance(n.ctx, ast.Store)
                }  # fmt: skip
        self.top = set(_bound(tree.body))


def _bound(body):
    for node in body:
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                yield node.name
            case ast.Assign():
                yield from (n.id for t in node.targets for n in ast.walk(t) if hasattr(n, "id"))
            case ast.AnnAssign(target=ast.Name(id=name)):
                yield name
            case ast.Import():
                yield from (alias.asname or alias.name for alias in node.names)


@cache
def _modules():
    files = [path for folder in (*CODE, "tests") for path in (ROOT / folder).rglob("*.py")]
    return {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
        for path in files
    }


@cache
def _packages():
    found = {".".join(name.split(".")[:end]) for name in _modules() for end in range(1, 6)}
    return found - _modules().keys() | {n for n, p in _modules().items() if p.stem == "__init__"}


@cache
def _names(module):
    return Names(_modules()[module])


@cache
def _files():
    roots = [ROOT / folder for folder in FOLDERS]
    below = [path for root in roots for path in root.rglob("*") if "__pycache__" not in path.parts]
    return {path.relative_to(ROOT).as_posix() for path in (*ROOT.glob("*"), *below)}


def _is_member(module, parts):
    """Whether a module holds a dotted name, its own or imported."""
    if not parts:
        return True
    if f"{module}.{parts[0]}" in _modules().keys() | _packages():
        return _is_member(f"{module}.{parts[0]}", parts[1:])
    if module not in _modules():
        return False
    names, (first, *rest) = _names(module), parts
    if first in names.members:
        return not rest or rest[0] in names.members[first]
    if first in names.top:
        return not rest
    source, name = names.imported.get(first, (None, None))
    return source is not None and (
        source.split(".")[0] not in CODE or _is_member(source, [name, *rest])
    )


def _is_dotted_name(name):
    top, *parts = name.split(".")
    return _is_member(top, parts)


def _is_role(name, module):
    """Whether a name of a role exists, as seen from the module (None in a document)."""
    first, *rest = name.split(".")
    if first in CODE:
        return _is_dotted_name(name)
    if module is None:
        return False
    package = module if module in _packages() else module.rpartition(".")[0]
    around = [other for other in _modules() if module in _packages() and other.startswith(package)]
    return (
        any(_is_member(place, [first, *rest]) for place in (module, package, *around))
        or _has_class_with(module, name)
        or hasattr(builtins, first)
        or (bool(rest) or name.islower()) and importlib.util.find_spec(first) is not None
    )  # fmt: skip


def _is_file(name):
    name = name.removeprefix("./").rstrip("/.")
    if name in OTHER_PEOPLES or name.startswith("ray/_private/") or name in _files():
        return True
    return any(fnmatch(file, name) or fnmatch(file, f"*/{name}") for file in _files())


def _is_link(target, text, folder):
    name, _, anchor = target.partition("#")
    if not anchor or not (folder / name).exists():
        return (folder / name).exists()
    headings = re.findall(r"^#+ (.*)", (folder / name).read_text() if name else text, re.MULTILINE)
    return anchor in {re.sub(r"[^\w -]", "", h.lower()).replace(" ", "-") for h in headings}


def _is_short_name(name):
    """Whether ``module.function`` exists, if its beginning is a module's or package's name.

    Fields of a trial and sections of a study file look the same.
    """
    first, *rest = name.split(".")
    places = _named(first)
    if not places or any(field.startswith(name) for field in trial_fields()):
        return True
    return any(_is_member(place, rest) or _has_class_with(place, rest[0]) for place in places)


def _named(word):
    """Modules and packages of this name."""
    return [name for name in _modules().keys() | _packages() if name.rpartition(".")[2] == word]


def _has_class_with(module, member):
    classes = _names(module).members.values() if module in _modules() else ()
    return any(member in members for members in classes)


def dangling(text, module=None, folder=ROOT):
    """What a text mentions that does not exist.

    Args:
        text: Markdown or a docstring.
        module: Dotted name of the docstring's module.
        folder: That links are relative to.
    """
    roles = {name for _, name in ROLE.findall(text) if not _is_role(name, module)}
    links = {
        target
        for target in LINK.findall(text)
        if not target.startswith("http") and not _is_link(target, text, folder)
    }
    paths = {match.group() for match in PATH.finditer(text)}
    quoted = {name.removesuffix("()") for name in _quoted(text)}
    paths |= {name for name in quoted if FILE.fullmatch(name)}
    dotted = {"".join(found) for found in DOTTED.findall(text)}
    dotted = {name for name in dotted if not _is_dotted_name(name)} - paths
    short = {name for name in quoted - paths if SHORT.fullmatch(name)}
    short = {name for name in short if name.split(".")[0] not in CODE and not _is_short_name(name)}
    return roles | links | {path for path in paths if not _is_file(path)} | dotted | short


def _quoted(text):
    return {match.group(2) for match in QUOTED.finditer(BLOCK.sub("", ROLE.sub("", text)))}


def _docstrings(path):
    """Docstrings of a module, its classes, functions and attributes."""
    return [
        node.value.value
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    ]


@pytest.mark.parametrize("document", DOCUMENTS)
def test_what_a_document_mentions_exists(document):
    text = (ROOT / document).read_text()
    if document == "CHANGELOG.md":  # released sections keep the names of their time
        text = text.partition("## Unreleased")[2].partition("\n## ")[0]
    assert text
    assert not dangling(text, folder=(ROOT / document).parent)


@pytest.mark.parametrize("package", CODE)
def test_what_docstrings_mention_exists(package):
    found = {
        f"{name}: {mention}"
        for name, path in _modules().items()
        if name.split(".")[0] == package
        for text in _docstrings(path)
        for mention in dangling(text, name)
    }
    assert not found, "\n".join(sorted(found))


@pytest.mark.parametrize("package", CODE)
def test_the_words_of_a_package_docstring_are_modules(package):
    words = {
        (name, word)
        for name in _packages() & _modules().keys()
        if name.split(".")[0] == package
        for word in _quoted(_docstrings(_modules()[name])[0])
        if re.fullmatch("[a-z_]+", word)
    }
    assert not {(name, word) for name, word in words if not _named(word)}


@pytest.mark.parametrize("document", [name for name in DOCUMENTS if name.endswith(".md")])
def test_study_files_in_documents_are_valid(document, write_study):
    for text in STUDY.findall((ROOT / document).read_text()):
        # tests/integration/test_plugins.py reads those of plugins.
        if "plugins:" not in text and not text.startswith("# my_lab/"):
            load_spec(write_study(text))


@pytest.mark.parametrize(
    "wrong",
    [
        "the `harness/record/ledgers.py` of a study",
        "see `record/ledgers.py`",
        "`ledgers.py`",
        "files in harness/records/",
        "search_spaces/no_such_study.yaml",
        "[design](DESIGNS.md)",
        "[design](DESIGN.md#no-such-heading)",
        "`python -m harness.runs`",
        "harness.record.ledger.Legder",
        "`ledger.read_event`",
        ":mod:`harness.records`",
        ":func:`harness.record.ledger.read_event`",
        ":meth:`harness.record.ledger.Ledger.appended`",
        ":class:`harness.results.Studies`",
        ":func:`read_event`",
    ],
)
def test_a_wrong_name_is_found(wrong):
    assert dangling(wrong, "harness.record.ledger")


@pytest.mark.parametrize(
    "right",
    [
        "`harness/record/ledger.py`, `record/ledger.py`, `ledger.py`, `*_trainable.py`",
        "[design](DESIGN.md), [part](DESIGN.md#glossary), [page](https://example.org/none.md)",
        "`python -m harness.run search_spaces/bins.yaml`, `ledger.read_events`",
        ":mod:`harness.record`, :func:`read_events`, :meth:`Ledger.append`, :meth:`append`",
        ":class:`harness.results.Study`, :meth:`harness.results.Study.bins`",
        ":class:`optuna.samplers.BaseSampler`, :mod:`faulthandler`, `adapt.lr`, `torch.compile`",
    ],
)
def test_a_right_name_is_not(right):
    assert not dangling(right, "harness.record.ledger")
