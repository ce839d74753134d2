import re
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.yaml.source import SpecError, YAMLSource, apply_override, read_yaml


@pytest.fixture
def load(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def load_text(text: str | bytes) -> YAMLSource:
        raw = text if isinstance(text, bytes) else text.encode()
        Path("study.yaml").write_bytes(raw)
        return read_yaml("study.yaml")

    return load_text


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001),
        ("-1.5E+3", -1500.0),
        (".5", 0.5),
        ("4", 4),
        ("-4", -4),
        ("010", 10),
        ("0o17", 15),
        ("-0x1F", -31),
        ("0b101", 5),
        ("1_000", 1000),
        ("no", "no"),
        ("on", "on"),
        ("true", True),
        ("False", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("2024-01-01", "2024-01-01"),
        ("1:30", "1:30"),
        ("'1'", "1"),
        ("!!str 1", "1"),
        ("!!float 1", 1.0),
        ("=", "="),
        ("[1, [a, {b: c}]]", [1, ["a", {"b": "c"}]]),
    ],
)
def test_scalars_follow_yaml_1_2(load, text, value):
    read = load(f"a: {text}\n").data["a"]
    assert read == value
    assert type(read) is type(value)


def test_aliases_repeat_values_and_merge_keys_fill_in_what_is_not_given(load):
    source = load("a: &x {b: 1, c: 2}\nd: *x\ne: {c: 3, <<: *x}\nf: {<<: [{b: 4}, *x]}\n")
    assert source.data == {
        "a": {"b": 1, "c": 2},
        "d": {"b": 1, "c": 2},
        "e": {"c": 3, "b": 1},
        "f": {"b": 4, "c": 2},
    }
    assert source.values["d", "b"] == (1, 11)


def test_byte_order_mark_and_windows_line_ends_are_read(load):
    source = load(b"\xef\xbb\xbfa: 1\r\nb: 2\r\n")
    assert source.data == {"a": 1, "b": 2}
    assert source.values["b",] == (2, 4)


def test_every_value_and_key_has_its_line_and_column(load):
    source = load("# comment\na: 1\nb:\n  c.d: [x, y]\n  e:\n    - f: 2\n")
    assert source.values == {
        (): (2, 1),
        ("a",): (2, 4),
        ("b",): (3, 1),
        ("b", "c.d"): (4, 8),
        ("b", "c.d", 0): (4, 9),
        ("b", "c.d", 1): (4, 12),
        ("b", "e"): (5, 3),
        ("b", "e", 0): (6, 7),
        ("b", "e", 0, "f"): (6, 10),
    }
    assert source.keys == {
        ("a",): (2, 1),
        ("b",): (3, 1),
        ("b", "c.d"): (4, 3),
        ("b", "e"): (5, 3),
        ("b", "e", 0, "f"): (6, 7),
    }


def test_place_of_a_dotted_name_is_found_where_the_file_nests_it(load):
    source = load("fixed:\n  adapt:\n    regda.margin: 3\n")
    assert source.place(("fixed", "adapt.regda.margin")) == "study.yaml:3:19"
    assert source.place(("fixed", "adapt.regda.margin"), at_key=True) == "study.yaml:3:5"
    assert source.place(("fixed", "adapt.lr")) == "study.yaml:2:3"
    assert source.place(("budget", "hours")) == "study.yaml:1:1"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "1:1: the file is empty; a study is a mapping of keys to values"),
        ("# nothing\n", "1:1: the file is empty; a study is a mapping of keys to values"),
        ("- a\n- b\n", "1:1: the top level must be a mapping, got ['a', 'b']"),
        ("\nnull\n", "2:1: the top level must be a mapping, got null"),
        ("text\n", "1:1: the top level must be a mapping, got 'text'"),
        ("a: 1\nb:\n  c: 1\n  c: 2\n", "4:3: key 'c' is given twice, first on line 3"),
        ("a:\n\tb: 1\n", "2:1: a tab cannot indent a line; use spaces"),
        ("a:\n  b: 1\n  \tc: 2\n", "3:3: a tab cannot indent a line; use spaces"),
        ("a:\tb\n", "1:3: a tab cannot separate words; use spaces"),
        ("a: 1\n1: 2\n", "2:1: a key must be text, got 1; quote it"),
        ("a: {true: 2}\n", "1:5: a key must be text, got true; quote it"),
        ("a:\n  ~: 2\n", "2:3: a key must be text, got ~; quote it"),
        ("a:\n  : 2\n", "2:3: a key must be text, got nothing; quote it"),
        ("? [a]\n: 2\n", "1:3: a key must be text, got a collection; quote it"),
        ("a: .inf\n", "1:4: '.inf' is not a finite number"),
        ("a: .NaN\n", "1:4: '.NaN' is not a finite number"),
        ("a: 1e999\n", "1:4: '1e999' is not a finite number"),
        ("a: 99999999999999999999\n", "1:4: '99999999999999999999' is beyond 64 bits"),
        ("a: !!int x\n", "1:4: 'x' is not a number"),
        ("a: +_\n", "1:4: '+_' is not a number"),
        ("a: !foo 1\n", "1:4: the tag '!foo' is not supported here"),
        ("a: !!set {b, c}\n", "1:4: the tag 'set' is not supported here"),
        ("a: !!python/object:os.system x\n", "1:4: the tag 'python/object:os.system' is"),
        ("a: !!map x\n", "1:4: the tag 'map' is not supported here"),
        ("%YAML 1.1\n---\na: no\n", "1:1: a line cannot start with %; YAML directives"),
        ("a: 1\n---\nb: 2\n", "2:1: not valid YAML: expected a single document"),
        ("a: [1,\n", "2:1: not valid YAML: while parsing a flow node, expected"),
        ("a: 'x\n", "2:1: not valid YAML: while scanning a quoted scalar, found unexpected end"),
        ("a: 1\nb: c: d\n", "2:5: not valid YAML: mapping values are not allowed here"),
        ("a: *b\n", "1:4: not valid YAML: found undefined alias 'b'"),
        ("a: &x [*x]\n", "1:4: values are nested more than 20 levels deep"),
        ("a: &x {<<: *x}\n", "1:1: the file is nested too deeply"),
        ("a: {<<: 3}\n", "1:9: << takes a mapping or a list of mappings"),
        ("a: 1\nb: \x07\n", "2:4: character U+0007 is not allowed"),
        (b"a: 1\nb: caf\xe9\n", "2:7: the file is not UTF-8 text"),
        ("a: " + "[" * 21 + "]" * 21, "1:24: values are nested more than 20 levels deep"),
        ("- " * 4000, "1:1: the file is nested too deeply"),
        ("a:\n  " + "[" * 6000, "2:103: more than 100 brackets are open"),
        ("a: " + "x" * 50_000, "1:1: the file has 50003 characters; at most 50000 are read"),
    ],
)
def test_bad_text_is_one_sentence_with_its_place(load, text, message):
    with pytest.raises(SpecError) as caught:
        load(text)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(f"study.yaml:{message}")


def test_aliases_that_multiply_are_stopped(load):
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 8)}]" for i in range(1, 12)]
    with pytest.raises(SpecError, match="the file holds more than 50000 values"):
        load("\n".join(lines))
    merges = ["m0: &m0 {a: 1}"]
    merges += [f"m{i}: &m{i} {{<<: [*m{i - 1}, *m{i - 1}]}}" for i in range(1, 40)]
    with pytest.raises(SpecError, match="the file holds more than 50000 values"):
        load("\n".join(merges))


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("absent.yaml", "No such file or directory"),
        (".", "Is a directory"),
        ("a\0b", "embedded null"),
    ],
)
def test_unreadable_file_is_named(tmp_path, monkeypatch, name, reason):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SpecError, match=f"the file cannot be read: {reason}"):
        read_yaml(name)


STUDY = """\
metrics:
  - {name: a, goal: maximize}
parameters:
  vae.kl_weight: {min: 0.1, max: 1.0}
fixed:
  adapt:
    epochs: 4
  net.width: 8
baselines:
  all: {}
budget:
"""


@pytest.mark.parametrize(
    ("override", "path", "value"),
    [
        ("fixed.adapt.epochs=3", ("fixed", "adapt", "epochs"), 3),
        ("fixed.adapt.method=regda", ("fixed", "adapt", "method"), "regda"),
        ("fixed.adapt.regda.margin=2.5", ("fixed", "adapt", "regda.margin"), 2.5),
        ("fixed.net.width=16", ("fixed", "net.width"), 16),
        ("fixed.vae.norm=raw", ("fixed", "vae.norm"), "raw"),
        (
            "parameters.vae.kl_weight={value: 1e-1}",
            ("parameters", "vae.kl_weight"),
            {"value": 0.1},
        ),
        ("parameters.vae.kl_weight.max=2", ("parameters", "vae.kl_weight", "max"), 2),
        (
            "parameters.vae.kl_weight.when.bins.count=4",
            ("parameters", "vae.kl_weight", "when", "bins.count"),
            4,
        ),
        ("parameters.bins.count={values: [2, 4]}", ("parameters", "bins.count", "values", 1), 4),
        ("baselines.all.bins.count=4", ("baselines", "all", "bins.count"), 4),
        ("baselines.new.bins.count=4", ("baselines", "new", "bins.count"), 4),
        ("budget.run_cap=3", ("budget", "run_cap"), 3),
        ("resources.cpus=2", ("resources", "cpus"), 2),
        ("metrics.0.goal=minimize", ("metrics", 0, "goal"), "minimize"),
        ("metrics.0={name: b}", ("metrics", 0, "name"), "b"),
        ("name=", ("name",), None),
        (" name =a=b", ("name",), "a=b"),
        ("run_cap=5", ("budget", "run_cap"), 5),
    ],
)
def test_override_sets_a_path_and_is_its_place(load, override, path, value):
    source = load(STUDY)
    before = dict(source.data)
    changed = apply_override(source, override, {"run_cap": "budget.run_cap"})
    node = changed.data
    for key in path:
        node = node[key]
    assert node == value
    assert changed.place(path) == f"--set {override}"
    assert source.data == before


def test_last_override_of_a_path_wins(load):
    source = apply_override(load(STUDY), "fixed.adapt={epochs: 7}")
    source = apply_override(source, "fixed.adapt.epochs=9")
    assert source.data["fixed"]["adapt"] == {"epochs": 9}
    assert source.place(("fixed", "adapt.epochs")) == "--set fixed.adapt.epochs=9"
    assert source.place(("fixed", "adapt")) == "--set fixed.adapt={epochs: 7}"
    source = apply_override(source, "fixed.adapt={}")
    assert source.place(("fixed", "adapt", "epochs")) == "--set fixed.adapt={}"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("fixed", "must look like path=value, as fixed.adapt.epochs=3 does"),
        ("=3", "must look like path=value, as fixed.adapt.epochs=3 does"),
        ("a..b=3", "must look like path=value, as fixed.adapt.epochs=3 does"),
        ("a=[1", "not valid YAML: while parsing a flow sequence, expected ',' or ']'"),
        ("a={b: 1, b: 2}", "key 'b' is given twice, first on line 1"),
        ("fixed.net.width.x=3", "fixed.net.width is 8 and has no x"),
        ("metrics.1.goal=x", "metrics is [{'name': 'a', 'goal': 'maximize'}] and has no 1"),
        ("metrics.goal=x", "metrics is [{'name': 'a', 'goal': 'maximize'}] and has no goal"),
    ],
)
def test_bad_override_is_named(load, override, message):
    with pytest.raises(SpecError) as caught:
        apply_override(load(STUDY), override)
    assert str(caught.value).startswith(f"--set {override}: {message}")


def test_moved_value_keeps_its_place(load):
    source = load("run_cap: 4\nmetric: {goal: x}\n")
    moved = source.moved(("run_cap",), ("budget", "run_cap")).moved(("metric",), ("metrics", 0))
    assert moved.data == {"budget": {"run_cap": 4}, "metrics": [{"goal": "x"}]}
    assert moved.place(("budget", "run_cap")) == "study.yaml:1:10"
    assert moved.place(("budget",)) == "study.yaml:1:10"
    assert moved.place(("metrics", 0, "goal")) == "study.yaml:2:16"


def error_of(call: Callable[[], object]) -> str | None:
    try:
        call()
    except SpecError as error:
        return str(error)
    return None


YAML_ALPHABET = st.sampled_from(list("ab01.-+:?[]{}&*!|>'\"%@`#,~<= \n\t\r\\_ex") + ["\x85", "é"])


@settings(max_examples=400, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.one_of(st.text(YAML_ALPHABET, max_size=60), st.text(max_size=40), st.binary(max_size=40))
)
def test_any_text_gives_data_or_a_spec_error_at_once(load, text):
    raw = text if isinstance(text, bytes) else text.encode(errors="surrogatepass")
    start = time.perf_counter()
    message = error_of(lambda: load(raw))
    assert time.perf_counter() - start < 2
    assert message is None or re.match(r"study\.yaml:\d+:\d+: .+$", message)


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(max_size=20), st.text(YAML_ALPHABET, max_size=20))
def test_any_override_gives_data_or_a_spec_error(load, path, value):
    source = load(STUDY)
    for text in (f"{path}={value}", f"fixed.{path}={value}", f"metrics.{path}={value}"):
        message = error_of(partial(apply_override, source, text))
        assert message is None or re.match(r"--set .*: .+$", message)
