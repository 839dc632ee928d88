import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ragtune_lib.records import Chunk, Entity, Question, Sentence, WinRate
from ragtune_lib.store import (
    Cache,
    append_record,
    content_id,
    file_hash,
    read_json,
    read_lines,
    read_records,
    run_folder,
    to_json,
    to_record,
    write_json,
    write_records,
    write_text,
)

CHUNK = Chunk("c1", "d1", 0, 9, "Rain\u2028fell\u0085on\tus \U0001f600.", "2025-03-09")
ENTITY = Entity("e1", "Ilse", "name", "Ilse sang.", (Sentence("Ilse sang.", "c1", "", 4),), ("c1", "c2"))
QUESTION = Question("q1", "local", "Who?", "Ilse.", (("Ilse", "Ilse Brandt"), ("sang",)), ())


def python(code, *arguments, **options):
    return subprocess.run([sys.executable, "-c", code, *map(str, arguments)], capture_output=True, text=True, **options)


def test_ids_depend_on_content_and_its_division_alone():
    assert content_id("a", 1) == content_id("a", 1)
    different = [("a", 1), ("a1",), ("a", "1"), (1, "a"), (("a", 1),), ("a",), ("a", ""), (), (None,), (CHUNK,)]
    ids = {content_id(*parts) for parts in different}
    assert len(ids) == len(different)
    assert all(len(name) == 16 and set(name) <= set("0123456789abcdef") for name in ids)


def test_an_id_is_the_same_in_every_process():
    code = "from ragtune_lib.store import content_id; print(content_id('Ilse\u2028', 1, ('a', None)))"
    found = {python(code, env={**os.environ, "PYTHONHASHSEED": seed}).stdout.strip() for seed in ("1", "2")}
    assert found == {content_id("Ilse\u2028", 1, ("a", None))}


def test_the_hash_of_a_file_is_that_of_its_bytes(tmp_path):
    (tmp_path / "a").write_bytes(b"x" * 3_000_000)
    (tmp_path / "b").write_bytes(b"x" * 2_999_999 + b"y")
    (tmp_path / "empty").write_bytes(b"")
    assert file_hash(tmp_path / "empty") == "e3b0c44298fc1c14"  # SHA-256 of nothing
    assert file_hash(tmp_path / "a") != file_hash(tmp_path / "b")


@pytest.mark.parametrize("record", [CHUNK, ENTITY, QUESTION])
def test_what_is_written_is_read_back_as_it_was(tmp_path, record):
    write_records(tmp_path / "a.jsonl", [record, record])
    assert read_records(tmp_path / "a.jsonl", type(record)) == [record, record]
    assert (tmp_path / "a.jsonl").read_bytes().count(b"\n") == 2


def test_numbers_that_json_lacks_become_null_and_come_back_as_nan(tmp_path):
    rate = WinRate("a", "b", "local", "overall", "reference", float("nan"), float("-inf"), 0.5, 0, 0, 0)
    write_records(tmp_path / "a.jsonl", [rate])
    write_json(tmp_path / "a.json", {"rates": [rate], "n": float("nan")})

    def refuse(word):
        raise AssertionError(f"{word} is no JSON")

    for name in ("a.jsonl", "a.json"):
        json.loads((tmp_path / name).read_text(), parse_constant=refuse)
    back = read_records(tmp_path / "a.jsonl", WinRate)[0]
    assert back.rate != back.rate and back.low != back.low and back.high == 0.5
    assert read_json(tmp_path / "a.json")["n"] is None


def test_only_what_json_knows_is_written():
    with pytest.raises(TypeError):
        to_json({"path": Path("a")})
    with pytest.raises(TypeError):
        to_json({1, 2})


def test_nothing_is_left_of_an_old_file_when_it_is_replaced(tmp_path):
    write_text(tmp_path / "a", "long and old\n")
    write_text(tmp_path / "a", "new")
    assert (tmp_path / "a").read_text() == "new"
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["a"]


def test_a_value_that_cannot_be_written_leaves_the_old_file(tmp_path):
    write_records(tmp_path / "a.jsonl", [CHUNK])
    with pytest.raises(UnicodeEncodeError):
        write_text(tmp_path / "a.jsonl", "half a character: \ud83d")
    with pytest.raises(RuntimeError, match="stopped"):
        write_records(tmp_path / "a.jsonl", stopping())
    assert read_records(tmp_path / "a.jsonl", Chunk) == [CHUNK]
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["a.jsonl"]


def stopping():
    yield CHUNK
    raise RuntimeError("stopped")


REPLACE = """
import sys
from pathlib import Path
from ragtune_lib.store import write_text
try:
    write_text(Path(sys.argv[1]), "new" * 100_000)
except OSError as error:
    print(type(error).__name__, error.errno)
"""
LIMITED = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))\n{REPLACE}"


def test_a_file_that_may_not_grow_leaves_the_old_one_and_no_other(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    write_text(folder / "a", "old")
    done = python(LIMITED, folder / "a")
    assert done.stdout.split() == ["OSError", "27"], done.stderr  # EFBIG
    assert (folder / "a").read_text() == "old"
    assert [path.name for path in folder.iterdir()] == ["a"]


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 64 KiB; mounting it needs root."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("no right to mount a small disk here; the test with a file size limit covers the same")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_leaves_the_old_file_and_no_other(small_disk):
    write_text(small_disk / "a", "old")
    done = python(REPLACE, small_disk / "a")
    assert done.stdout.split() == ["OSError", "28"], done.stderr  # ENOSPC
    assert (small_disk / "a").read_text() == "old"
    assert [path.name for path in small_disk.iterdir()] == ["a"]


def test_a_cache_on_a_full_disk_keeps_what_was_finished_and_goes_on_when_there_is_room(small_disk):
    cache = Cache(small_disk / "cache.jsonl")
    ballast = small_disk / "ballast"
    ballast.write_bytes(b"x" * 40_000)
    with pytest.raises(OSError, match="No space"):
        for number in range(1000):
            cache.put(f"k{number}", "v" * 1000)
    assert len(cache.values) > 5  # a value that is not on the disk is not held for finished
    assert Cache(small_disk / "cache.jsonl").values == cache.values
    ballast.unlink()
    again = Cache(small_disk / "cache.jsonl")
    again.put("late", "w")
    assert Cache(small_disk / "cache.jsonl").values == {**cache.values, "late": "w"}


def test_a_missing_folder_is_an_error_and_is_not_made(tmp_path):
    with pytest.raises(FileNotFoundError):
        write_text(tmp_path / "none" / "a", "x")
    assert not (tmp_path / "none").exists()


def test_a_cut_off_last_line_is_reported_and_the_others_are_read(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"a": 1}\n\n  \n{"a": "\xe2\x80\xa8"}\n{"a": "\xc3')  # cut inside a character
    values, bad = read_lines(path)
    assert values == [{"a": 1}, {"a": "\u2028"}]
    assert len(bad) == 1 and bad[0].startswith("a.jsonl, line 5: ")
    assert read_lines(tmp_path / "none.jsonl") == ([], [])


def test_appending_after_a_cut_off_line_loses_that_line_alone(tmp_path):
    path = tmp_path / "a.jsonl"
    append_record(path, {"a": 1})
    append_record(path, {"a": 2})
    with path.open("ab") as stream:
        stream.write(b'{"a": "cut')
    append_record(path, {"a": 3})
    values, bad = read_lines(path)
    assert values == [{"a": 1}, {"a": 2}, {"a": 3}]
    assert [message.split(":")[0] for message in bad] == ["a.jsonl, line 3"]


def test_an_appended_record_whose_newline_was_cut_off_is_not_lost(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"a": 1}')
    append_record(path, {"a": 2})
    assert read_lines(path) == ([{"a": 1}, {"a": 2}], [])


def test_an_artifact_that_cannot_be_read_is_named_with_its_place(tmp_path):
    path = tmp_path / "chunks.jsonl"
    row = json.loads(to_json(CHUNK))
    with pytest.raises(FileNotFoundError, match=r"chunks\.jsonl is missing: run the notebook"):
        read_records(path, Chunk)
    with pytest.raises(FileNotFoundError, match=r"run\.json is missing: run the notebook"):
        read_json(tmp_path / "run.json")
    path.write_text(to_json(CHUNK) + "\n{\n")
    with pytest.raises(ValueError, match=r"chunks\.jsonl, line 2: .*delete chunks\.jsonl"):
        read_records(path, Chunk)
    path.write_text(to_json(CHUNK) + "\n" + to_json({**row, "colour": 1}) + "\n")
    with pytest.raises(ValueError, match=r"chunks\.jsonl, record 2: unknown field 'colour' for Chunk"):
        read_records(path, Chunk)
    path.write_text(to_json({name: value for name, value in row.items() if name != "text"}) + "\n")
    with pytest.raises(ValueError, match=r"chunks\.jsonl, record 1: .*'text'"):
        read_records(path, Chunk)
    path.write_text("[1, 2]\n")
    with pytest.raises(ValueError, match=r"chunks\.jsonl, record 1: expected an object .* of Chunk"):
        read_records(path, Chunk)


def test_a_field_with_a_default_may_be_missing_and_nested_records_are_rebuilt():
    row = json.loads(to_json(ENTITY))
    del row["evidence"][0]["position"]
    entity = to_record(Entity, row)
    assert entity.evidence == (Sentence("Ilse sang.", "c1", "", 0),)
    assert isinstance(entity.chunk_ids, tuple)


@pytest.mark.parametrize("name", ["../x", "a/b", "/tmp/x", "", ".", "..", ".hidden", "-rf", "a b", "a\n", "a\0b", "ä"])
def test_a_run_is_a_plain_name(outputs, name):
    with pytest.raises(ValueError, match="run name"):
        run_folder(name)
    assert list(outputs.iterdir()) == []


def test_a_run_folder_is_made_once_and_stays(outputs):
    folder = run_folder("my-notes_2.b")
    (folder / "a").write_text("x")
    assert run_folder("my-notes_2.b") == folder == outputs / "my-notes_2.b"
    assert (folder / "a").read_text() == "x"


PUTS = """
import sys
from pathlib import Path
from ragtune_lib.store import Cache
cache = Cache(Path(sys.argv[1]))
for number in range(1_000_000):
    cache.put(f"k{number}", {"text": "x" * 20_000, "number": number})
    print(number, flush=True)
"""


def test_every_finished_result_survives_a_kill(tmp_path):
    path = tmp_path / "cache.jsonl"
    with subprocess.Popen([sys.executable, "-c", PUTS, str(path)], stdout=subprocess.PIPE) as process:
        for _ in range(20):
            assert process.stdout.readline()
        time.sleep(0.01)
        os.kill(process.pid, signal.SIGKILL)
        last = 19 + len([line for line in process.stdout.read().split(b"\n") if line])
    whole = Cache(path)
    assert {f"k{number}" for number in range(last)} <= set(whole.values)
    assert all(whole.get(key)["number"] == int(key[1:]) for key in whole.values)
    path.write_bytes(path.read_bytes()[:-7])  # a kill in the middle of a line, for certain
    cut = Cache(path)
    assert len(cut.values) == len(whole.values) - 1
    missing = next(iter(set(whole.values) - set(cut.values)))
    assert missing not in cut
    cut.put(missing, whole.get(missing))
    assert Cache(path).values == whole.values


def test_a_cache_holds_the_last_value_and_gives_what_it_would_read_back(tmp_path):
    cache = Cache(tmp_path / "cache.jsonl")
    assert "a" not in cache
    with pytest.raises(KeyError):
        cache.get("a")
    cache.put("a", ("x", 1))
    cache.put("a", ("y", CHUNK))
    assert cache.get("a") == Cache(tmp_path / "cache.jsonl").get("a") == ["y", json.loads(to_json(CHUNK))]


def test_lines_of_another_kind_do_not_break_a_cache(tmp_path):
    path = tmp_path / "cache.jsonl"
    path.write_text('[1]\n7\n{"key": "a"}\n{"key": "b", "value": null}\n')
    assert Cache(path).values == {"b": None}


def test_records_that_fail_half_way_leave_the_old_file(tmp_path):
    path = tmp_path / "r.jsonl"
    write_records(path, [{"a": 1}])
    with pytest.raises(TypeError, match="set has no JSON form"):
        write_records(path, [{"a": 2}, {"a": {3}}])
    assert path.read_text() == '{"a":1}\n'
    assert [file.name for file in tmp_path.iterdir() if file.is_file()] == ["r.jsonl"]


def test_a_number_that_json_has_not_is_null_wherever_it_stands():
    sentence = Sentence("a", "c", "", float("inf"))
    assert to_json([{"x": (float("nan"), 1.5)}, sentence]) == (
        '[{"x":[null,1.5]},{"text":"a","chunk_id":"c","date":"","position":null}]'
    )
