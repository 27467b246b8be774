"""Atomic writes: old or new, never half."""

from __future__ import annotations

import csv
import errno
import hashlib
import io
import math
import os
import subprocess
import sys

import pytest

from boltzgen.errors import BoltzgenError, InputError
from boltzgen.files import atomic_path, csv_text, read_json, sha256_file, write_atomic, write_json
from boltzgen.folders import alone_in


def test_text_bytes_and_json_come_back(tmp_path):
    write_atomic(tmp_path / "deep" / "a.txt", "grüße\n")
    assert (tmp_path / "deep" / "a.txt").read_bytes() == "grüße\n".encode()
    write_atomic(tmp_path / "b.bin", b"\x00\xff")
    assert (tmp_path / "b.bin").read_bytes() == b"\x00\xff"
    value = {"z": [1, 2.5, None], "a": "x"}
    write_json(tmp_path / "c.json", value)
    assert read_json(tmp_path / "c.json") == value
    assert list(read_json(tmp_path / "c.json")) == ["z", "a"]


def test_an_interrupted_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.json"
    write_json(path, {"old": 3})
    with pytest.raises(RuntimeError), atomic_path(path) as temporary:
        temporary.write_text("half")
        assert temporary.suffix == ".json" and temporary.parent == tmp_path
        raise RuntimeError
    assert read_json(path) == {"old": 3}
    assert os.listdir(tmp_path) == ["a.json"]


def test_permissions_follow_the_umask(tmp_path):
    write_atomic(tmp_path / "a", "x")
    (tmp_path / "b").write_text("x")
    assert (tmp_path / "a").stat().st_mode == (tmp_path / "b").stat().st_mode


@pytest.mark.parametrize("number", [math.nan, math.inf])
def test_json_refuses_what_is_not_a_number(tmp_path, number):
    with pytest.raises(BoltzgenError, match="not finite"):
        write_json(tmp_path / "a.json", {"x": number})
    assert not (tmp_path / "a.json").exists()


def test_full_disk_is_a_sentence(tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(BoltzgenError, match=r"a\.json: the disk is full"):
        write_json(tmp_path / "a.json", {})
    assert os.listdir(tmp_path) == []


def test_a_file_where_a_folder_is_needed(tmp_path):
    (tmp_path / "f").write_text("x")
    with pytest.raises(InputError, match="a file stands where a folder is needed"):
        write_atomic(tmp_path / "f" / "a.txt", "x")


@pytest.mark.parametrize(
    ("content", "words"), [(b"", "empty"), (b'{"a": 1', "not valid JSON"), (b"\xff\xfe", "cannot be read")]
)
def test_broken_json_is_named(tmp_path, content, words):
    path = tmp_path / "a.json"
    path.write_bytes(content)
    with pytest.raises(InputError, match=words) as caught:
        read_json(path)
    assert str(path) in str(caught.value)


def test_missing_json(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        read_json(tmp_path / "a.json")


def test_hash(tmp_path):
    content = os.urandom(3_000_001)
    (tmp_path / "a").write_bytes(content)
    assert sha256_file(tmp_path / "a") == hashlib.sha256(content).hexdigest()


def test_a_folder_has_one_process_at_a_time(tmp_path):
    folder = tmp_path / "RUN"
    work = "import sys; from boltzgen.folders import alone_in\nwith alone_in(sys.argv[1]): print('alone')"

    def other():
        return subprocess.run([sys.executable, "-c", work, folder], capture_output=True, text=True)

    with alone_in(folder):
        (folder / "kept").touch()
        refused = other()
    assert "Another boltzgen process is at work in" in refused.stderr and str(folder) in refused.stderr
    assert other().stdout == "alone\n"
    assert [path.name for path in folder.iterdir()] == ["kept"]


def test_a_folder_made_for_nothing_is_removed_and_the_error_kept(tmp_path):
    with pytest.raises(OSError, match="of the work"), alone_in(tmp_path / "RUN"):
        raise OSError("of the work")
    assert not (tmp_path / "RUN").exists()


def test_a_file_system_without_locks_refuses_nobody(tmp_path, monkeypatch):
    def unknown(descriptor, operation):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("boltzgen.folders.fcntl.flock", unknown)
    with alone_in(tmp_path / "RUN"), alone_in(tmp_path / "RUN") as folder:
        assert folder.is_dir()


def test_csv_text_reads_back():
    columns = ("name", "value", "why")
    rows = [{"name": "a,b", "value": 0.1 + 0.2, "why": 'said "no"'}, {"name": "c", "value": None}]
    text = csv_text(columns, rows)
    assert text.splitlines()[0] == "name,value,why" and "\r" not in text
    back = list(csv.DictReader(io.StringIO(text)))
    assert float(back[0].pop("value")) == 0.1 + 0.2
    assert back == [{"name": "a,b", "why": 'said "no"'}, {"name": "c", "value": "", "why": ""}]
    assert csv_text(columns, rows[:1]) + csv_text(columns, rows[1:], header=False) == text
    with pytest.raises(ValueError):
        csv_text(columns, [{"other": 1}])
