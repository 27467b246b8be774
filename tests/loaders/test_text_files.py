"""JSON and YAML of any kind end as content or in a sentence, soon, and without memory taken on trust."""

from __future__ import annotations

import json
import time

import pytest
from helpers import refusal

from boltzgen.config.settings import read_yaml
from boltzgen.errors import InputError
from boltzgen.files import read_json
from boltzgen.free_energy.states import read_coordinates, read_states
from boltzgen.loaders.yaml_text import parse_yaml
from boltzgen.training.metrics import read_metrics

DAMAGED_JSON = {
    "empty": b"",
    "blank": b" \n\t",
    "cut": b'{"a": [1, 2',
    "cut in a word": b'{"schema": "bol',
    "text": b"hello",
    "nested lists": b"[" * 100_000,
    "nested mappings": b'{"a":' * 100_000,
    "closed nested lists": b"[" * 200 + b"]" * 200,
    "many digits": b'{"a": ' + b"1" * 10_000 + b"}",
    "too large a whole number": b'{"a": 99999999999999999999999}',
    "NaN": b'{"a": NaN}',
    "infinity": b'{"a": -Infinity}',
    "too large a number": b'{"a": 1e999}',
    "a key twice": b'{"a": 1, "a": 2}',
    "a key twice, deep": b'[{"b": {"a": 1, "a": 1}}]',
    "not UTF-8": b'{"a": "\xff\xfe"}',
    "UTF-16": '{"a": 1}'.encode("utf-16"),
    "binary": bytes(range(256)),
    "NUL": b"\x00" * 50,
    "half a character": b'{"a": "\\ud800"}',
    "two values": b"{} {}",
    "a comment": b"{} // no",
}


@pytest.mark.parametrize("name", DAMAGED_JSON)
def test_json_that_is_none_is_refused_in_a_sentence(tmp_path, name):
    path = tmp_path / "record.json"
    path.write_bytes(DAMAGED_JSON[name])
    start = time.monotonic()
    refusal(lambda: read_json(path), path)
    assert time.monotonic() - start < 5


def test_json_that_is_merely_odd_is_read(tmp_path):
    path = tmp_path / "record.json"
    path.write_bytes(b'\xef\xbb\xbf{"a": [1, 2.5, null, true, "gr\xc3\xbc\xc3\x9fe \\u00e4"]}\r\n')
    assert read_json(path) == {"a": [1, 2.5, None, True, "grüße ä"]}
    path.write_text(json.dumps({"seed": 2**63 - 1, "deep": [[[[[[]]]]]]}))
    assert read_json(path)["seed"] == 2**63 - 1


def test_a_huge_file_is_refused_by_its_size(tmp_path):
    path = tmp_path / "huge.json"
    with open(path, "wb") as handle:
        handle.truncate(2**40)  # sparse: no byte of it is on the disk
    start = time.monotonic()
    assert "too many" in refusal(lambda: read_json(path), path)
    assert "too many" in refusal(lambda: read_yaml(path), path)
    assert time.monotonic() - start < 1


BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12)
)
DAMAGED_YAML = {
    "billion laughs": BOMB,
    "a loop": "a: &x [1, *x]",
    "nested lists": "a: " + "[" * 100_000,
    "nested mappings": "{a: " * 50_000,
    "nested dashes": "- " * 60_000 + "x",
    "nested question marks": "? " * 60_000,
    "int of a word": "a: !!int x",
    "int of nothing": "a: !!int ''",
    "int that is hexadecimal of nothing": "a: !!int '0x'",
    "float of a word": "a: !!float x",
    "float of nothing": "a: !!float ''",
    "bool of a word": "a: !!bool x",
    "timestamp of a word": "a: !!timestamp x",
    "a binary": "a: !!binary '!'",
    "a set": "a: !!set {x}",
    "an object": "a: !!python/object:os.system {}",
    "a call": "a: !!python/object/apply:os.getcwd []",
    "a tag of one's own": "a: !mine x",
    "a mapping of a list": "a: !!map [1]",
    "a list of a mapping": "a: !!seq {a: 1}",
    "text of a mapping": "a: !!str {a: 1}",
    "many digits": "a: " + "1" * 10_000,
    "a key twice": "a: 1\na: 2",
    "a key twice, deep": "b: {c: [{a: 1, a: 1}]}",
    "a key that is a list": "? [1]\n: 2",
    "a key that is nothing": "~: 2",
    "a tab": "a:\n\t- 1",
    "NUL": "a: \0",
    "a control character": "a: \x07",
    "two documents": "a: 1\n---\nb: 2",
    "unknown alias": "a: *nowhere",
    "another version": "%YAML 9.9\n---\na: 1",
    "cut": "a: [1, 2",
    "cut in quotes": "a: 'x",
    "a list": "- 1",
    "one word": "hello",
    "nothing": "",
    "only a comment": "# nothing",
}


@pytest.mark.parametrize("name", DAMAGED_YAML)
def test_yaml_that_is_none_is_refused_in_a_sentence(tmp_path, name):
    path = tmp_path / "some.yaml"
    path.write_text(DAMAGED_YAML[name])
    for read in (
        read_yaml,
        lambda file: read_states(file, None, 2),
        lambda file: read_coordinates(file, None),
    ):
        start = time.monotonic()
        refusal(lambda read=read: read(path), path)
        assert time.monotonic() - start < 8


@pytest.mark.parametrize("content", [b"\xff\xfe\x00\x01", "a: 1".encode("utf-16"), bytes(range(256))])
def test_yaml_that_is_no_text_is_refused(tmp_path, content):
    path = tmp_path / "some.yaml"
    path.write_bytes(content)
    refusal(lambda: read_yaml(path), path)


def test_yaml_that_is_merely_odd_is_read():
    text = "\ufeffa: 1e-3\nb: 2024-13-45\nc: &x {d: 1_000}\ne: *x\nf: yes\ng: .inf\nh: 18446744073709551615\n"
    assert parse_yaml(text, source="x") == {
        "a": 1e-3,
        "b": "2024-13-45",
        "c": {"d": 1000},
        "e": {"d": 1000},
        "f": True,
        "g": float("inf"),
        "h": 2**64 - 1,
    }


@pytest.mark.parametrize(
    "lines",
    [
        "[1]\n{}\n",
        '{"step": "x"}\n{}\n',
        '{"step": NaN}\n',
        '{"step": 1}\n{"ste\n{}\n',
        "\n\n",
        '{"step": []}\n',
    ],
)
def test_rows_of_metrics_that_are_none_are_refused(tmp_path, lines):
    path = tmp_path / "metrics.jsonl"
    path.write_text(lines)
    refusal(lambda: read_metrics(path), path)


def test_a_last_row_cut_short_is_left_out(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 3}\n{"step": 4, "los')
    assert read_metrics(path) == [{"step": 3}]
    path.write_text('{"step": 3}\n{"step": 4, "loss": 1e5}')
    assert len(read_metrics(path)) == 2


def test_a_states_file_in_json_is_read_by_the_same_loader(tmp_path):
    path = tmp_path / "states.json"
    path.write_text('{"states": [], "states": []}')
    assert "twice" in refusal(lambda: read_states(path, None, 2), path)
    path.write_text("[" * 100_000)
    with pytest.raises(InputError, match="nested"):
        read_states(path, None, 2)
