"""Whole stages against a server that misbehaves. What one call meets is in test_endpoint.py."""

import json
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter

import pytest
from fault_proxy import FAULTS, FaultServer, some_faults

from ragtune_lib.llm import Model, Scripted, limits, open_model, tally
from ragtune_lib.llm import model as seam
from ragtune_lib.llm.calls import Call, StageError, prompt
from ragtune_lib.llm.cost import Meter, Price
from ragtune_lib.llm.reply_cache import ReplyCache
from ragtune_lib.store import ROOT

SCHEMA = {"type": "object", "properties": {"n": {"type": "string"}}, "required": ["n"], "additionalProperties": False}
FINAL = {"refusal": "refused", "filter": "refused", "length": "cut off"}

STAGE = """
import sys
from pathlib import Path
from ragtune_lib.llm.calls import Call, prompt
from ragtune_lib.llm import open_model
model = open_model(sys.argv[1], Path(sys.argv[2]))
calls = [Call(f"i{number}", prompt(f"question {number}")) for number in range(int(sys.argv[3]))]
for result in model.stream("stage", calls):
    print("result", result.call.item, flush=True)
"""


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(limits, "FIRST", 0.02)
    for name in ("OPENAI_API_KEY", "RAGTUNE_API_KEY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "calls.sqlite"


def model_of(server, cache, **options):
    model = open_model(f"{server.url}:m", cache, **options)
    model.backend.pause = 0.01
    return model


def questions(count, **options):
    return [Call(f"i{number}", prompt(f"question {number}"), **options) for number in range(count)]


def items(asked):
    return [result.call.item for result in asked.results], [problem.item for problem in asked.problems]


# accounting


def expected(text, faults):
    """What a plain call must end as, by the faults that it meets: "" for a reply."""
    attempt = empty = 0
    while fault := faults(text, attempt):
        empty += fault == "empty"
        if fault in FINAL or empty == 3:
            return FINAL.get(fault, "empty")
        attempt += 1
        if fault in ("schema", "slow"):
            return ""  # any text answers a call without a schema
    return ""


def test_a_thousand_calls_through_every_fault_are_all_accounted_for(cache):
    faults = some_faults(0.3, [kind for kind in FAULTS if kind not in ("429 date", "empty")] * 3 + ["empty"] * 12)

    def with_a_date(text, attempt):
        return "429 date" if (text, attempt) == ("question 500", 0) else faults(text, attempt)

    calls = questions(1000)
    calls = [call if number % 2 else Call(call.item, call.messages, schema=SCHEMA) for number, call in enumerate(calls)]
    answer = json.dumps({"n": "x" * 50})
    with FaultServer(lambda body: answer, with_a_date, slow=0.1) as server:
        model = model_of(server, cache, timeout=10)
        asked = model.ask("stage", calls)
        assert set(FAULTS) <= set(server.given)  # every fault was met
        good, bad = items(asked)
        assert sorted(good + bad) == sorted(call.item for call in calls)
        assert good == [call.item for call in calls if call.item in set(good)]  # in order
        ends = {problem.item: problem.reason.split(":")[0] for problem in asked.problems}
        for call in calls:
            if call.schema is None:
                assert ends.get(call.item, "") == expected(call.messages[0][1], with_a_date), call.item
        assert set(ends.values()) <= {"refused", "cut off", "empty", "unreadable"}
        for result in asked.results:
            assert result.reply.data == ({"n": "x" * 50} if result.call.schema else None)
            assert result.reply.text == answer or (not result.call.schema and "unasked" in result.reply.text)
        plain = {call.messages[0][1] for call in calls if call.schema is None}
        assert all(count == 1 for text, count in server.finished.items() if text in plain)  # nothing was paid twice

        before = server.asked.copy()
        again = model.ask("stage", calls)  # kept replies are not asked again, all others are
        assert not {call.messages[0][1] for call in calls if call.item in good} & set(server.asked - before)
        assert len(again.results) >= len(asked.results)


def test_a_stage_says_what_came_of_it(cache, capsys):
    with FaultServer(
        faults=lambda text, attempt: {"question 3": "refusal", "question 4": "400"}.get(text, "")
    ) as server:
        asked = model_of(server, cache).ask("03_synthesize", questions(10))
    assert asked.summary == "8 ok, 2 failed: 1 HTTP 400, 1 refused"
    assert [(problem.stage, problem.item) for problem in asked.problems] == [
        ("03_synthesize", "i3"),
        ("03_synthesize", "i4"),
    ]
    assert asked.problems[0].reason == "refused: I cannot help with that."
    printed = capsys.readouterr().out
    assert "03_synthesize: 8 ok, 2 failed: 1 HTTP 400, 1 refused; 10 requests" in printed and "price unknown" in printed


def test_an_unreadable_reply_is_a_problem_with_the_reply_attached(cache):
    with FaultServer(lambda body: "I would say three.") as server, pytest.raises(StageError) as caught:
        model_of(server, cache).ask("stage", questions(2, schema=SCHEMA))
    assert [problem.reply for problem in caught.value.problems] == ["I would say three."] * 2


def test_no_success_at_all_is_no_success(cache):
    with FaultServer(faults=lambda text, attempt: "refusal") as server:
        with pytest.raises(StageError, match=r"not one call succeeded \(5 refused\); the last said: refused") as caught:
            model_of(server, cache).ask("stage", questions(5))
        assert len(caught.value.problems) == 5


def test_nothing_to_ask_is_no_failure(cache):
    with FaultServer() as server:
        asked = model_of(server, cache).ask("stage", [])
    assert (asked.results, asked.problems, asked.summary) == ((), (), "0 ok, 0 failed")


def test_a_stage_in_which_nothing_succeeds_is_given_up_early_and_still_complete(cache):
    with FaultServer(faults=lambda text, attempt: "400") as server, pytest.raises(StageError) as caught:
        model_of(server, cache).ask("stage", questions(500))
    assert tally.HOPELESS <= server.asked.total() <= tally.HOPELESS + 16
    assert len(caught.value.problems) == 500
    assert "the first 32 calls all failed" in caught.value.problems[-1].reason


def test_a_server_that_dies_ends_the_stage_and_the_rest_is_listed(cache, monkeypatch):
    monkeypatch.setattr("ragtune_lib.llm.endpoint.ATTEMPTS", 3)
    faults = lambda text, attempt: "reset early" if server.finished.total() >= 100 else ""  # noqa: E731
    with FaultServer(faults=faults) as server:
        asked = model_of(server, cache).ask("stage", questions(400))
    assert 100 <= len(asked.results) <= 116 and len(asked.results) + len(asked.problems) == 400
    assert {problem.reason.split(":")[0] for problem in asked.problems} == {"no connection", "not asked"}
    with FaultServer(port=server.port) as again:  # the same address: it asks what is due and nothing else
        assert not model_of(again, cache).ask("stage", questions(400)).problems
    assert again.asked.total() == 400 - len(asked.results)


def test_a_refused_key_stops_the_stage_at_once(cache):
    with FaultServer(key="right") as server, pytest.raises(StageError, match="RAGTUNE_API_KEY"):
        model_of(server, cache).ask("stage", questions(500))
    assert server.asked.total() <= 32  # those on their way, and a second one for each worker at most


# the cache


def test_what_is_kept_is_not_asked_again_and_what_failed_is(cache):
    faults = {"question 2": "refusal", "question 5": "length", "question 7": "empty"}
    with FaultServer(faults=lambda text, attempt: faults.get(text, "")) as server:
        model = model_of(server, cache)
        first = model.ask("stage", questions(10))
        assert server.finished.total() == 7 and len(first.problems) == 3
        before = server.asked.copy()
        faults.clear()
        again = model_of(server, cache).ask("stage", questions(10))
        assert set(server.asked - before) == {"question 2", "question 5", "question 7"}
    assert [result.cached for result in again.results].count(True) == 7
    assert again.summary == "10 ok (7 kept from before), 0 failed"


def test_another_model_prompt_setting_or_draw_asks_again(cache):
    with FaultServer() as server:
        model = model_of(server, cache)
        model.ask("stage", questions(1))
        others = [questions(1, max_tokens=5), questions(1, temperature=0.7), questions(1, sample=1)]
        for number, calls in enumerate(others, 2):
            model.ask("stage", calls)
            assert server.asked.total() == number
        open_model(f"{server.url}:m2", cache).ask("stage", questions(1))
        assert server.asked.total() == 5
        model.ask("stage", [Call("another item", prompt("question 0"))])
        assert server.asked.total() == 5


def test_the_same_call_many_times_at_once_is_made_once(cache):
    with FaultServer(latency=0.1) as server:
        model = model_of(server, cache)
        calls = [Call(f"i{number}", prompt("the same")) for number in range(50)]
        found = {}

        def ask(name):
            found[name] = items(model.ask(name, calls))

        threads = [threading.Thread(target=ask, args=(f"stage {number}",)) for number in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert server.asked == {"the same": 1}
    assert list(found.values()) == [([call.item for call in calls], [])] * 3


def run_stage(server, cache, count, **options):
    command = [sys.executable, "-c", STAGE, f"{server.url}:m", str(cache), str(count)]

    def heed_interrupts():  # a shell that starts the tests in the background has them ignored, and children inherit that
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT, preexec_fn=heed_interrupts, **options)


def test_a_kill_loses_no_finished_call(cache):
    """Killed three times: no reply that was on the disk is asked for again, and each result printed was on it."""
    count, used = 400, set()
    with FaultServer(latency=0.02) as server:
        for _ in range(3):
            process = run_stage(server, cache, count)
            lines = [process.stdout.readline() for _ in range(60 + len(used))]
            process.send_signal(signal.SIGKILL)
            lines += process.stdout.read().split("\n")
            process.wait()
            used |= {found[1] for line in lines if (found := re.fullmatch(r"result (i\d+)\n?", line))}
            calls, model = questions(count), model_of(server, cache)
            kept = [call for call in calls if model.cache.get(model.key(call))]
            assert used <= {call.item for call in kept}
            on_their_way = server.finished.total() - len(kept)
            assert on_their_way <= 16 * 3  # answered, but the answer never reached the process
            before = server.asked.copy()
            if len(kept) == count:
                break
        rest = model.ask("stage", calls)
        assert len(rest.results) == count
        assert server.asked.total() - before.total() == count - len(kept)
        assert all(server.asked[call.messages[0][1]] == before[call.messages[0][1]] for call in kept)


def test_an_interrupt_keeps_what_is_on_its_way(cache):
    with FaultServer(latency=0.3) as server:
        process = run_stage(server, cache, 400, stderr=subprocess.PIPE)
        while process.stdout.readline() != "result i20\n":
            pass
        process.send_signal(signal.SIGINT)
        process.communicate()
        assert process.returncode not in (0, None)
        time.sleep(0.4)
        calls, model = questions(400), model_of(server, cache)
        kept = [call for call in calls if model.cache.get(model.key(call))]
        assert len(kept) == server.finished.total() == server.asked.total() < 400


def test_processes_share_what_they_ask(cache):
    with FaultServer(latency=0.01) as server:
        first = run_stage(server, cache, 150)
        while first.stdout.readline() != "result i50\n":
            pass
        second = run_stage(server, cache, 150)
        assert second.communicate()[0].count("result") == 150
        assert first.communicate()[0].count("result") == 99
        assert 150 <= server.asked.total() <= 249  # the second finds what the first has stored
        before = server.asked.total()
        assert not model_of(server, cache).ask("stage", questions(150)).problems
        assert server.asked.total() == before


def test_a_disk_that_is_full_stops_the_stage_before_the_reply_is_used(cache):
    with FaultServer() as server:
        model = model_of(server, cache)
        model.cache._writer.execute("pragma max_page_count = 1")
        with pytest.raises(Exception, match="full"):
            for _ in model.stream("stage", [Call("i", prompt("x" * 10_000))]):
                raise AssertionError("used before it was kept")


# streams


def test_results_come_in_order_while_later_calls_are_on_their_way(cache):
    with FaultServer(faults=lambda text, attempt: "slow" if text == "question 0" else "", slow=0.5) as server:
        stream = model_of(server, cache).stream("stage", questions(40))
        assert next(stream).call.item == "i0"
        assert server.finished.total() == 40  # nobody waited for the slow one
        assert [result.call.item for result in stream] == [f"i{number}" for number in range(1, 40)]


def test_calls_are_taken_in_as_they_are_needed(cache, monkeypatch):
    monkeypatch.setattr(seam, "AHEAD", 30)
    taken = []

    def endless():
        number = 0
        while True:
            taken.append(number)
            yield Call(f"i{number}", prompt(f"question {number}"))
            number += 1

    with FaultServer() as server:
        stream = model_of(server, cache).stream("stage", endless())
        for _ in range(100):
            next(stream)
        stream.close()
        assert len(taken) <= 100 + 30
        time.sleep(0.1)
        assert server.active == 0


def test_as_many_calls_are_on_their_way_as_there_are_workers(cache):
    with FaultServer(latency=0.1) as server:
        model_of(server, cache, workers=5).ask("stage", questions(25))
        assert server.most_active == 5


def test_a_call_that_cannot_be_checked_is_refused(cache):
    model = Model("m", ReplyCache(cache), Scripted(lambda call: "{}"), Meter(None))
    with pytest.raises(ValueError, match="minItems"):
        model.ask("stage", [Call("i", prompt("x"), schema={"type": "array", "minItems": 2})])
    with pytest.raises(ValueError, match="without messages"):
        model.ask("stage", [Call("i", ())])


# cost


def priced(server, cache, budget, **options):
    model = model_of(server, cache, **options)
    model.meter = model.backend.meter = Meter(Price(0, 1e6), budget)  # a dollar for each token that is written
    return model


def test_the_budget_is_never_overdrawn_and_everything_so_far_is_kept(cache):
    calls = questions(200, max_tokens=20)
    with FaultServer(lambda body: "x" * 40) as server:  # ten tokens
        model = priced(server, cache, 500)
        asked = model.ask("stage", calls)
        assert model.meter.money <= 500 and len(asked.results) == model.meter.money / 10
        assert 48 <= len(asked.results) <= 50  # nearly all of it is used: the last call might have cost twenty
        assert Counter(problem.reason for problem in asked.problems) == {"budget reached": 200 - len(asked.results)}
        assert len(ReplyCache(cache)._reader.execute("select key from replies").fetchall()) == len(asked.results)
        more = priced(server, cache, 10_000).ask("stage", calls)
        assert not more.problems and server.asked.total() == 200


def test_a_budget_for_nothing_is_said_for_every_call(cache):
    with FaultServer() as server, pytest.raises(StageError, match="50 budget reached") as caught:
        priced(server, cache, 0).ask("stage", questions(50))
    assert server.asked.total() == 0 and len(caught.value.problems) == 50


def test_kept_replies_are_free(cache):
    with FaultServer(lambda body: "x" * 40) as server:
        priced(server, cache, 10_000).ask("stage", questions(50, max_tokens=20))
        assert not priced(server, cache, 1).ask("stage", questions(50, max_tokens=20)).problems


def test_a_forecast_asks_nothing_and_knows_what_is_kept(cache):
    with FaultServer(lambda body: "x" * 40) as server:
        model = priced(server, cache, None)
        calls = questions(30, max_tokens=20)
        before = model.forecast([*calls, calls[0]])
        assert server.asked.total() == 0
        assert (before.calls, before.cached, before.due, before.most_tokens) == (31, 1, 30, 600)
        model.ask("stage", calls)
        after = model.forecast([*calls, *questions(32, max_tokens=20)[30:]])
        assert (after.due, after.output_tokens, after.replies) == (2, 20, 30)  # ten tokens each, as measured
        assert after.money == 20


def test_a_budget_needs_a_price(cache):
    with pytest.raises(ValueError, match=r"data/prices\.yaml"):
        open_model("http://127.0.0.1:9/v1:m", cache, budget=1.0)


# the rest of the seam


def test_a_scripted_model_goes_the_same_way(cache):
    backend = Scripted(lambda call: '{"n": "1"}' if "1" in call.messages[0][1] else "none")
    model = Model("scripted", ReplyCache(cache), backend, Meter(None), workers=2)
    asked = model.ask("stage", questions(3, schema=SCHEMA))
    assert [result.reply.data for result in asked.results] == [{"n": "1"}]
    assert [problem.reply for problem in asked.problems] == ["none", "none"]
    model.ask("stage", questions(3, schema=SCHEMA))
    assert Counter(call.item for call in backend.asked) == {"i0": 2, "i1": 1, "i2": 2}


def test_no_key_reaches_the_disk_or_the_output(cache, monkeypatch, capsys):
    key = "sk-test-0123456789abcdef"
    monkeypatch.setenv("RAGTUNE_API_KEY", key)
    with FaultServer(lambda body: f"the key {key}", lambda text, attempt: "400: key " + key if text[-1] == "3" else "",
                     key=key) as server:  # fmt: skip
        asked = model_of(server, cache).ask("stage", questions(10))
    assert len(asked.problems) == 1
    said = capsys.readouterr()
    assert key not in said.out + said.err + repr(asked)
    assert all(key.encode() not in path.read_bytes() for path in cache.parent.rglob("*") if path.is_file())


def test_it_works_behind_a_proxy_of_faults_before_another_server(cache, monkeypatch):
    with FaultServer(lambda body: "upstream says " + body["messages"][-1]["content"], key="k") as upstream:
        monkeypatch.setenv("RAGTUNE_API_KEY", "k")
        faults = some_faults(0.3, ["429 after", "502", "reset", "truncated"])
        with FaultServer(faults=faults, upstream=upstream.url) as proxy:
            asked = model_of(proxy, cache).ask("stage", questions(60))
    assert [result.reply.text for result in asked.results] == [f"upstream says question {n}" for n in range(60)]


def test_a_stage_that_waits_says_why(cache, monkeypatch, capsys):
    monkeypatch.setattr(seam, "BEAT", 0.05)
    with FaultServer(faults=lambda text, attempt: "429 date" if not attempt else "") as server:
        model_of(server, cache).ask("stage", questions(1))
    assert re.search(r"0 failed, the server asks to wait [01] s more", capsys.readouterr().out)
