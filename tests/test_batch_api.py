import json
import subprocess
import sys

import pytest
from fault_proxy import FaultServer

from ragtune_lib.llm import batch_api, open_model
from ragtune_lib.llm.batch_api import prefetch
from ragtune_lib.llm.calls import Call, StageError, prompt
from ragtune_lib.llm.cost import Meter, Price
from ragtune_lib.store import ROOT

SCHEMA = {"type": "object", "properties": {"n": {"type": "string"}}, "required": ["n"], "additionalProperties": False}

PREFETCH = """
import os, sys
from pathlib import Path
from ragtune_lib.llm import batch_api
from ragtune_lib.llm.calls import Call, prompt
from ragtune_lib.llm import open_model
model = open_model(sys.argv[1], Path(sys.argv[2]))
ask, place = batch_api._Batches._ask, sys.argv[3]

def dies(self, method, path, **content):
    if place == "before" and path == "/files":
        os._exit(9)
    if place == "polling" and path.startswith("/batches/"):
        os._exit(9)
    return ask(self, method, path, **content)

batch_api._Batches._ask = dies
exchange = model.backend.wire.exchange

def hands_in(method, path, *body, **content):
    found = exchange(method, path, *body, **content)
    if place == "handed in" and (method, path) == ("POST", "/batches"):
        os._exit(9)  # the provider has the batch, and its id never reached the disk
    return found

model.backend.wire.exchange = hands_in
batch_api.prefetch(model, "stage", [Call(f"i{n}", prompt(f"question {n}")) for n in range(20)], poll=0.01)
"""


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "calls.sqlite"


def model_of(server, cache, price=None, budget=None):
    model = open_model(f"{server.url}:m", cache)
    model.backend.pause = 0.01
    model.meter = model.backend.meter = Meter(price, budget)
    return model


def questions(count, **options):
    return [Call(f"i{number}", prompt(f"question {number}"), **options) for number in range(count)]


def test_a_batch_fills_the_cache_at_its_own_price(cache):
    with FaultServer(lambda body: "x" * 40) as server:
        model = model_of(server, cache, Price(0, 1e6, 0.5))
        assert prefetch(model, "stage", questions(20), poll=0.01) == "20 replies kept, 0 rows without a usable reply"
        assert model.meter.money == 20 * 10 * 0.5
        asked = model.ask("stage", questions(20))
    assert [result.reply.text for result in asked.results] == ["x" * 40] * 20
    assert server.asked.total() == 0 and len(server.batches) == 1
    assert model.cache.open_batches(model.backend.identity) == []
    row = json.loads(server.files["file-0"].decode().splitlines()[0])
    assert row["method"] == "POST" and row["url"] == "/v1/chat/completions" and row["body"]["model"] == "m"


def test_rows_that_fail_are_asked_one_by_one(cache):
    bad = {"question 3", "question 7"}
    with FaultServer(faults=lambda text, attempt: "500" if text in bad and not attempt else "") as server:
        model = model_of(server, cache)
        assert prefetch(model, "stage", questions(10), poll=0.01) == "8 replies kept, 2 rows without a usable reply"
        assert len(model.ask("stage", questions(10)).results) == 10
    assert set(server.asked) == bad


def test_a_reply_that_cannot_be_used_is_not_kept(cache):
    with FaultServer(lambda body: "none" if "3" in body["messages"][-1]["content"] else '{"n": "1"}') as server:
        model = model_of(server, cache)
        assert prefetch(model, "stage", questions(5, schema=SCHEMA), poll=0.01).startswith("4 replies kept, 1 row")
        assert model.cache.get(model.key(questions(5, schema=SCHEMA)[3])) is None


def test_what_is_kept_or_asked_twice_goes_into_no_batch(cache):
    with FaultServer() as server:
        model = model_of(server, cache)
        model.ask("stage", questions(5))
        prefetch(model, "stage", [*questions(8), *questions(8)], poll=0.01)
        assert len(server.files["file-0"].decode().splitlines()) == 3
        prefetch(model, "stage", questions(8), poll=0.01)
        assert len(server.batches) == 1


def test_batches_are_no_larger_than_the_provider_takes(cache, monkeypatch):
    monkeypatch.setattr(batch_api, "MOST_ROWS", 4)
    with FaultServer() as server:
        assert prefetch(model_of(server, cache), "stage", questions(10), poll=0.01).startswith("10 replies kept")
        inputs = [server.files[batch["input_file_id"]].decode().splitlines() for batch in server.batches.values()]
    assert sorted(map(len, inputs)) == [2, 4, 4]


@pytest.mark.parametrize(("place", "batches"), [("before", 0), ("handed in", 1), ("polling", 1)])
def test_a_kill_neither_loses_a_batch_nor_hands_it_in_twice(cache, place, batches):
    with FaultServer() as server:
        command = [sys.executable, "-c", PREFETCH, f"{server.url}:m", str(cache), place]
        assert subprocess.run(command, cwd=ROOT, capture_output=True).returncode == 9
        assert len(server.batches) == batches
        model = model_of(server, cache)
        assert prefetch(model, "stage", questions(20), poll=0.01).startswith("20 replies kept")
        assert len(server.batches) == 1 and server.finished.total() == 20
        assert not model.ask("stage", questions(20)).problems
    assert server.asked.total() == 0


def test_a_lost_answer_to_the_order_does_not_order_twice(cache):
    with FaultServer(faults=lambda text, attempt: "reset early" if (text, attempt) == ("batch", 0) else "") as server:
        prefetch(model_of(server, cache), "stage", questions(5), poll=0.01)
    assert len(server.batches) == 1


def test_the_batch_of_another_stage_is_left_alone(cache):
    with FaultServer() as server:
        model = model_of(server, cache)
        model.cache.note_batch("mark", model.backend.identity, "batch-9", ["another key"])
        prefetch(model, "stage", questions(2), poll=0.01)
        assert model.cache.open_batches(model.backend.identity) == [("mark", "batch-9", ["another key"])]


def test_no_more_is_handed_in_than_the_budget_covers(cache):
    with FaultServer(lambda body: "x" * 40) as server:
        model = model_of(server, cache, Price(0, 1e6, 0.5), budget=100.0)
        prefetch(model, "stage", questions(50, max_tokens=20), poll=0.01)
        assert len(server.files["file-0"].decode().splitlines()) == 10  # ten dollars each at most
        assert model.meter.money == 50.0


def test_a_model_without_a_batch_interface_says_so(cache):
    with pytest.raises(StageError, match="runs here"):
        prefetch(open_model("embedded", cache), "stage", questions(1))
