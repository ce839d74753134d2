"""The import directions of the design, as tests."""

import ast
import subprocess
import sys
from graphlib import TopologicalSorter

import pytest

from tests.conftest import ROOT

LEVELS = {
    "harness": (
        "yaml", "space", "spec", "record", "stage_cache", "nodes", "optuna_study", "results",
        "mlflow_tracking", "forecast", "terminal", "study", "confirmation", "replays",
    ),
    "trainables": (
        "seeding", "registry", "fingerprint", "watchdog", "full_disk", "checkpoint", "config",
        "distributed", "data", "network", "metrics", "pose_vae", "sampling", "style", "evaluation",
        "adapt", "stages", "predict",
    ),
}  # fmt: skip
"""Packages from the bottom up."""
SHELLS = {"adaptation_trainable.py", "pose_vae_trainable.py"}
FORBIDDEN_NAMES = {"utils.py", "helpers.py", "common.py", "misc.py", "base.py", "manager.py"}


def _sources(package):
    return sorted((ROOT / package).rglob("*.py"))


def _packages():
    return [
        file.parent.relative_to(ROOT).as_posix()
        for top in ("harness", "trainables", "analysis")
        for file in sorted((ROOT / top).rglob("__init__.py"))
    ]


def _imports(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


@pytest.mark.parametrize("path", _sources("trainables"), ids=lambda p: p.name)
def test_trainables_know_neither_the_harness_nor_its_tools(path):
    tools = {"harness", "analysis", "optuna", "mlflow"} | (
        set() if path.name in SHELLS else {"ray"}
    )
    assert not {name.split(".")[0] for name in _imports(path)} & tools


@pytest.mark.parametrize("path", _sources("analysis"), ids=lambda p: p.name)
def test_analysis_reads_studies_through_results_alone(path):
    ours = {n for n in _imports(path) if n.split(".")[0] in ("harness", "trainables")}
    allowed = ("harness.results", "trainables.")
    assert all(name.startswith(allowed) for name in ours)


@pytest.mark.parametrize("package", ["harness", "trainables", "analysis"])
def test_files_are_named_for_what_they_define(package):
    assert not {path.name for path in _sources(package)} & FORBIDDEN_NAMES


@pytest.mark.parametrize("path", _packages(), ids=str)
def test_a_package_says_what_lives_in_it(path):
    text = ast.get_docstring(ast.parse((ROOT / path / "__init__.py").read_text()))
    missing = [
        module.stem
        for module in (ROOT / path).glob("*.py")
        if not module.stem.startswith("_") and module.stem not in (text or "")
    ]
    assert text
    assert not missing or path in {"trainables", "analysis"}


@pytest.mark.parametrize(("package", "levels"), LEVELS.items())
def test_a_package_imports_only_what_stands_below_it(package, levels):
    for path in _sources(package):
        if path.parent == ROOT / package and path.stem not in levels:
            continue  # commands and shells stand above all packages
        room = path.relative_to(ROOT / package).parts[0].removesuffix(".py")
        above = {f"{package}.{name}" for name in levels[levels.index(room) + 1 :]}
        found = {name for name in _imports(path) if ".".join(name.split(".")[:2]) in above}
        assert not found, f"{path} imports {found}"


@pytest.mark.parametrize("package", ["harness", "trainables", "analysis"])
def test_no_module_imports_itself_through_others(package):
    graph = {
        path.relative_to(ROOT).with_suffix("").as_posix().replace("/", "."): set(_imports(path))
        for path in _sources(package)
        if path.stem != "__init__"
    }
    TopologicalSorter(graph).prepare()  # raises CycleError


@pytest.mark.parametrize("package", ["harness", "trainables", "analysis"])
def test_no_module_imports_from_the_package_that_it_is_in(package):
    for path in _sources(package):
        own = ".".join(path.relative_to(ROOT).parts[:-1])
        found = {
            alias.name
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.ImportFrom) and node.module == own and path.stem != "__init__"
            for alias in node.names
            if not (path.parent / f"{alias.name}.py").is_file()
        }
        assert not found, f"{path} imports {found} from {own}, which imports it: a hidden circle"


def test_a_study_is_checked_without_importing_anything_slow():
    code = (
        "import sys, harness.run\n"
        "from harness.spec import load_spec\n"
        "load_spec('search_spaces/bins.yaml')\n"
        "slow = {'torch', 'ray', 'mlflow', 'optuna', 'pandas', 'scipy', 'cv2', 'numpy'}\n"
        "sys.exit(', '.join(sorted(slow & set(sys.modules))) or 0)\n"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert found.returncode == 0, found.stderr


def test_a_worker_never_imports_mlflow_or_optuna():
    code = (
        "import sys, trainables.adaptation_trainable, trainables.pose_vae_trainable\n"
        "import harness.stages\n"
        "sys.exit(', '.join({'mlflow', 'optuna'} & set(sys.modules)) or 0)\n"
    )
    found = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        cwd=ROOT, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert found.returncode == 0, found.stderr
