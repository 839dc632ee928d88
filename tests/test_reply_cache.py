import signal
import sqlite3
import subprocess
import sys
import threading
import time

import pytest

from ragtune_lib.llm.calls import Call, Reply, prompt
from ragtune_lib.llm.reply_cache import ReplyCache, Usage

CALL = Call("c1", prompt("Who sang?"), 50)
REPLY = Reply("Ilse\u2028sang \U0001f600.", {"who": ["Ilse", None]}, "m-2026", 7, 3, 0.25)

WRITE = """
import sys
from pathlib import Path
from ragtune_lib.llm.calls import Call, Reply, prompt
from ragtune_lib.llm.reply_cache import ReplyCache
cache = ReplyCache(Path(sys.argv[1]))
for number in range(int(sys.argv[3])):
    cache.put(f"{sys.argv[2]}-{number}", "m", Call("c", prompt("x")), Reply(str(number), None, "m", 1, 1, 0.0))
    print(number, flush=True)
"""


def test_a_reply_comes_back_as_it_was_also_in_another_process(tmp_path):
    cache = ReplyCache(tmp_path / "deep" / "calls.sqlite")
    assert cache.get("k") is None
    cache.put("k", "m", CALL, REPLY)
    assert cache.get("k") == REPLY == ReplyCache(cache.path).get("k")
    assert cache._writer.execute("pragma synchronous").fetchone() == (2,)  # full: a power cut is no test of ours
    other = Reply("new", None, "m", 1, 1, 0.0)
    cache.put("k", "m", CALL, other)
    assert cache.get("k") == other


def test_usage_is_summed_by_model(tmp_path):
    cache = ReplyCache(tmp_path / "c")
    for number in range(3):
        cache.put(f"k{number}", "m", CALL, REPLY)
    cache.put("k", "other", CALL, REPLY)
    assert cache.usage("m") == Usage(3, 27, 150, 21, 9)
    assert cache.usage("none") == Usage(0, 0, 0, 0, 0)


def test_processes_share_a_cache_from_its_first_moment(tmp_path):
    count, path = 150, tmp_path / "c"
    running = [
        subprocess.Popen([sys.executable, "-c", WRITE, path, f"p{number}", str(count)], stdout=subprocess.DEVNULL)
        for number in range(4)
    ]
    assert [process.wait(60) for process in running] == [0] * 4
    cache = ReplyCache(path)
    assert all(cache.get(f"p{process}-{number}").text == str(number) for process in range(4) for number in range(count))


def test_what_was_stored_before_a_kill_is_there_after_it(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", WRITE, tmp_path / "c", "p", "100000"], stdout=subprocess.PIPE, text=True
    )
    for _ in range(200):
        process.stdout.readline()
    process.send_signal(signal.SIGKILL)
    said = [int(line) for line in process.stdout.read().split("\n")[:-1]]  # the last one may be cut off
    process.wait()
    cache = ReplyCache(tmp_path / "c")
    assert all(cache.get(f"p-{number}") for number in range(max([199, *said]) + 1))
    cache.put("after", "m", CALL, REPLY)
    assert cache.get("after") == REPLY


def test_a_torn_write_ahead_file_loses_its_last_reply_at_most(tmp_path):
    cache = ReplyCache(tmp_path / "c")
    for number in range(20):
        cache.put(f"k{number}", "m", CALL, REPLY)
    copy = tmp_path / "copy"
    for suffix in ("", "-wal"):  # as a power cut would leave them: the end of the log is missing
        data = (tmp_path / f"c{suffix}").read_bytes()
        (tmp_path / f"copy{suffix}").write_bytes(data[:-100] if suffix else data)
    torn = ReplyCache(copy)
    assert [torn.get(f"k{number}") for number in range(19)] == [REPLY] * 19
    assert torn.get("k19") is None
    torn.put("k19", "m", CALL, REPLY)
    assert torn.get("k19") == REPLY


def test_threads_that_write_together_lose_nothing(tmp_path):
    cache = ReplyCache(tmp_path / "c")

    def write(thread):
        for number in range(50):
            cache.put(f"{thread}-{number}", "m", CALL, REPLY)
            assert ReplyCache.get(cache, f"{thread}-{number}") == REPLY  # stored when put returns

    threads = [threading.Thread(target=write, args=(thread,)) for thread in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert cache.usage("m").replies == 400


def test_a_disk_that_was_full_for_a_while_loses_nothing(tmp_path):
    cache = ReplyCache(tmp_path / "c")
    cache.put("k0", "m", CALL, REPLY)
    pages = cache._writer.execute("pragma page_count").fetchone()[0]
    cache._writer.execute(f"pragma max_page_count = {pages}")  # SQLite's own "database or disk is full"
    big = Reply("x" * 100_000, None, "m", 1, 1, 0.0)
    with pytest.raises(sqlite3.OperationalError, match="full"):
        cache.put("k1", "m", CALL, big)
    assert cache.get("k1") is None
    cache._writer.execute("pragma max_page_count = 1000000")
    cache.put("k2", "m", CALL, REPLY)
    assert cache.get("k1") == big and cache.get("k2") == REPLY


def test_a_file_that_is_no_cache_is_named(tmp_path):
    (tmp_path / "c").write_text("no database " * 100)
    with pytest.raises(sqlite3.DatabaseError, match=str(tmp_path)):
        ReplyCache(tmp_path / "c")
    assert (tmp_path / "c").read_text().startswith("no database")


def test_nothing_is_read_at_the_start_and_a_read_is_quick(tmp_path):
    cache = ReplyCache(tmp_path / "c")
    reply = Reply("word " * 400, None, "m", 500, 500, 1.0)
    for number in range(500):
        cache.put(f"k{number}", "m", CALL, reply)
    cache.close()
    started = time.process_time()
    again = ReplyCache(tmp_path / "c")
    for number in range(500):
        again.get(f"k{number}")
    assert time.process_time() - started < 500 / 5000 * 2  # the benchmark has the figure; this catches a blunder


def test_batches_are_remembered_until_they_are_fetched(tmp_path):
    cache = ReplyCache(tmp_path / "c")
    cache.note_batch("m1", "here", "", ["a", "b"])
    cache.note_batch("m2", "there", "batch-2", ["c"])
    cache.note_batch("m1", "here", "batch-1", ["a", "b"])
    assert ReplyCache(cache.path).open_batches("here") == [("m1", "batch-1", ["a", "b"])]
    cache.forget_batch("m1")
    assert cache.open_batches("here") == [] and len(cache.open_batches("there")) == 1
