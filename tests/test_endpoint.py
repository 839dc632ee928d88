"""One call against a server that misbehaves; whole stages are in test_llm.py."""

import json
import logging
import threading
import time
import traceback

import pytest
from fault_proxy import FaultServer

from ragtune_lib.llm import endpoint, limits, open_model
from ragtune_lib.llm.calls import Call, Reply, StageError, Unusable, parse_spec, prompt
from ragtune_lib.llm.cost import Meter, Price
from ragtune_lib.llm.endpoint import Endpoint
from ragtune_lib.llm.wire import Answered, error_text, scrub

SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"], "additionalProperties": False}
PLAIN, TYPED = Call("c1", prompt("Who sang?")), Call("c2", prompt("How many?"), schema=SCHEMA)
KEY = "sk-test-0123456789abcdef"


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(limits, "FIRST", 0.02)
    for name in ("OPENAI_API_KEY", "RAGTUNE_API_KEY"):
        monkeypatch.delenv(name, raising=False)


def ask(server, call=PLAIN, stop=None, **options):
    asked = endpoint_of(server, **options)
    return asked.complete(call, stop or threading.Event())


def endpoint_of(server, **options):
    return Endpoint(parse_spec(f"{server.url}:m"), Meter(None), **{"pause": 0.01, "timeout": 5.0} | options)


def first(*faults):
    """These faults in turn for the first attempts of a call, then none."""
    return lambda text, attempt: faults[attempt] if attempt < len(faults) else ""


def test_a_reply_carries_what_the_server_says():
    with FaultServer(lambda body: "Ilse sang.") as server:
        found = ask(server)
    assert isinstance(found, Reply)
    assert (found.text, found.data, found.model) == ("Ilse sang.", None, "m-2026")
    assert (found.prompt_tokens, found.output_tokens) == (len("Who sang?") // 4, len("Ilse sang.") // 4)
    assert server.bodies == [
        {"model": "m", "messages": [{"role": "user", "content": "Who sang?"}], "max_tokens": 1024, "temperature": 0.0}
    ]


@pytest.mark.parametrize(
    "fault",
    ["429", "429 after", "500", "502", "503", "503 after", "504", "reset", "reset early", "truncated", "no json",
     "empty", "error in 200"],
)  # fmt: skip
def test_what_passes_is_tried_again(fault):
    with FaultServer(faults=first(fault, fault)) as server:
        found = ask(server)
    assert isinstance(found, Reply), found
    assert server.asked["Who sang?"] == 3


def test_a_server_that_hangs_is_given_up_and_asked_again():
    with FaultServer(faults=first("slow"), slow=2.0) as server:
        started = time.monotonic()
        assert isinstance(ask(server, timeout=0.3), Reply)
        assert time.monotonic() - started < 1.5


def test_a_server_that_is_only_slow_gets_more_time_until_its_reply_comes():
    with FaultServer(faults=lambda text, attempt: "slow", slow=0.5) as server:
        endpoint = endpoint_of(server, timeout=0.2)
        wire = endpoint.wire
        wire.client()
        found = [wire.exchange("POST", "/chat/completions", endpoint.body(PLAIN, PLAIN.messages)) for _ in range(4)]
    assert [answered.text == "timeout" for answered in found] == [True, True, False, False]
    assert (wire.given_up, wire.timeout) == (2, 0.8)


@pytest.mark.parametrize(
    ("fault", "kind", "attempts"),
    [
        ("400", "HTTP 400", 1),
        ("403", "HTTP 403", 1),
        ("413", "HTTP 413", 1),
        ("refusal", "refused", 1),
        ("filter", "refused", 1),
        ("length", "cut off", 1),
        ("empty", "empty", endpoint.EMPTY),
        ("500", "HTTP 500", endpoint.ATTEMPTS),
        ("truncated", "broken answer", endpoint.ATTEMPTS),
        ("reset", "no connection", endpoint.ATTEMPTS),
    ],
)
def test_what_does_not_pass_ends_as_what_it_was(fault, kind, attempts):
    with FaultServer(faults=lambda text, attempt: fault) as server:
        found = ask(server, pause=0.001)
    assert isinstance(found, Unusable) and found.kind == kind
    assert server.asked["Who sang?"] == attempts


def test_nobody_at_the_address_is_a_line_fault():
    with FaultServer() as server:
        pass
    found = ask(server, pause=0.001)
    assert found.kind == "no connection" and "Connect" in found.detail


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("401", ("401", "RAGTUNE_API_KEY")),
        ("404", ("404", "'m'")),
        ("402", ("402", "credit")),
        ("429 quota", ("429", "credit")),
        ("429 long", ("86,400 s", "later")),
    ],
)
def test_what_holds_for_every_call_ends_the_stage(fault, words):
    with FaultServer(faults=lambda text, attempt: fault) as server, pytest.raises(StageError) as caught:
        ask(server)
    assert all(word in str(caught.value) for word in words)
    assert server.asked["Who sang?"] == 1


def test_pauses_double_and_are_never_longer_than_a_minute(monkeypatch):
    pauses = []

    class Waits(threading.Event):
        def wait(self, timeout=None):
            """Note the pause."""
            pauses.append(timeout)

    monkeypatch.setattr(endpoint, "ATTEMPTS", 12)
    with FaultServer(faults=lambda text, attempt: "500") as server:
        ask(server, stop=Waits(), pause=0.5)
    longest = [min(60, 0.5 * 2**number) for number in range(11)]
    assert all(most / 2 <= pause <= most for pause, most in zip(pauses, longest, strict=True))
    assert len(set(pauses)) == len(pauses)  # with jitter, so that workers do not come back together


def test_all_workers_wait_when_one_is_told_to():
    with FaultServer(faults=first("429 date")) as server:
        asked = endpoint_of(server)
        asked.complete(PLAIN, threading.Event())
        assert server.asked.total() == 2
        asked.limiter.refused(time.monotonic(), 0.3)
        started = time.monotonic()
        threads = [
            threading.Thread(target=asked.complete, args=(Call("c", prompt(f"q{number}")), threading.Event()))
            for number in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert time.monotonic() - started >= 0.3


def test_limits_come_from_the_headers():
    headers = {
        "x-ratelimit-limit-requests": "30000",
        "x-ratelimit-limit-tokens": "5000",
        "x-ratelimit-reset-tokens": "6m0s",
    }
    with FaultServer(headers=lambda: headers) as server:
        asked = endpoint_of(server, tokens_per_minute=9000)
        asked.complete(PLAIN, threading.Event())
    assert asked.limiter.requests.ceiling == 30000
    assert asked.limiter.tokens.ceiling == 5000


def test_tokens_that_were_not_needed_are_given_back():
    with FaultServer(faults=first("500", "reset", "429 after")) as server:
        asked = endpoint_of(server, tokens_per_minute=6000)  # a thousand at once
        asked.complete(Call("c", prompt("Who sang?"), max_tokens=300), threading.Event())
        assert server.asked.total() == 4
    assert asked.limiter.tokens.level > 900


def test_openai_starts_at_the_lowest_tier():
    asked = Endpoint(parse_spec("openai:gpt-4o-mini"), Meter(None))
    assert (asked.limiter.requests.limit, asked.limiter.tokens.limit) == (500, 200_000)
    assert Endpoint(parse_spec("http://h/v1:m"), Meter(None)).limiter.requests.limit == float("inf")


def test_a_schema_goes_through_the_interface_of_the_server():
    with FaultServer(lambda body: '{"n": 3}') as server:
        assert ask(server, TYPED).data == {"n": 3}
    assert server.bodies[0]["response_format"]["json_schema"]["schema"] == SCHEMA
    assert server.bodies[0]["messages"][-1]["content"] == "How many?"


def test_a_server_that_refuses_schemas_is_asked_in_words_from_then_on():
    def faults(text, attempt):
        return "400: invalid grammar" if "response_format" in server.bodies[-1] else ""

    with FaultServer(lambda body: '{"n": 3}', faults) as server:
        asked = endpoint_of(server)
        for number in range(3):
            call = Call("c", prompt(f"How many {number}?"), schema=SCHEMA)
            assert asked.complete(call, threading.Event()).data == {"n": 3}
    assert ["response_format" in body for body in server.bodies] == [True, False, False, False]
    assert all("JSON schema" in body["messages"][-1]["content"] for body in server.bodies[1:])


def test_a_call_that_is_wrong_by_itself_does_not_cost_the_others_their_schema():
    def faults(text, attempt):
        return "400: maximum context length exceeded" if "too long" in text else ""

    with FaultServer(lambda body: '{"n": 3}', faults) as server:
        asked = endpoint_of(server)
        found = asked.complete(Call("c", prompt("too long"), schema=SCHEMA), threading.Event())
        assert found.kind == "HTTP 400" and "context length" in found.detail
        assert asked.complete(TYPED, threading.Event()).data == {"n": 3}
    assert "response_format" in server.bodies[-1]


def test_a_server_that_ignores_schemas_is_told_in_words():
    def answer(body):
        return '{"n": 3}' if "JSON schema" in body["messages"][-1]["content"] else "Three, I think."

    with FaultServer(answer) as server:
        asked = endpoint_of(server)
        assert asked.complete(TYPED, threading.Event()).data == {"n": 3}
        assert len(server.bodies) == 2 and server.bodies[1]["messages"][1]["content"] == "Three, I think."
        assert asked.complete(Call("c", prompt("And now?"), schema=SCHEMA), threading.Event()).data == {"n": 3}
    assert len(server.bodies) == 3  # no more repairs


def test_an_unreadable_reply_is_asked_again_once_and_then_kept_as_evidence():
    with FaultServer(lambda body: '{"n": "three"}') as server:
        found = ask(server, TYPED)
    assert (found.kind, found.text) == ("unreadable", '{"n": "three"}')
    assert "reply.n" in found.detail and len(server.bodies) == 2


def test_fields_that_a_server_does_not_take_are_left_out():
    def faults(text, attempt):
        body = server.bodies[-1]
        if "temperature" in body:
            return "400: Unsupported value: 'temperature' does not support 0.0 with this model."
        if "max_tokens" in body:
            return "400: Unsupported parameter: 'max_tokens' is not supported. Use 'max_completion_tokens' instead."
        return ""

    with FaultServer(faults=faults) as server:
        asked = endpoint_of(server)
        assert isinstance(asked.complete(PLAIN, threading.Event()), Reply)
        assert isinstance(asked.complete(PLAIN, threading.Event()), Reply)
    assert len(server.bodies) == 4
    assert server.bodies[-1] == {
        "model": "m", "messages": [{"role": "user", "content": "Who sang?"}], "max_completion_tokens": 1024
    }  # fmt: skip


def test_a_limit_that_is_merely_too_high_is_no_missing_field():
    said = "400: max_tokens is too large: 1024. This model supports at most 512 completion tokens."
    with FaultServer(faults=lambda text, attempt: said) as server:
        asked = endpoint_of(server)
        assert asked.complete(PLAIN, threading.Event()).kind == "HTTP 400"
    assert not asked.refused and len(server.bodies) == 1


def test_a_stop_ends_a_call_that_waits():
    stop = threading.Event()
    with FaultServer(faults=lambda text, attempt: "500") as server:
        threading.Timer(0.2, stop.set).start()
        started = time.monotonic()
        found = ask(server, stop=stop, pause=30.0)
    assert found.kind == "not asked" and time.monotonic() - started < 5


def test_each_request_is_on_the_meter_also_one_whose_reply_cannot_be_used():
    with FaultServer(faults=first("500", "empty", "refusal"), answer=lambda body: "x" * 400) as server:
        meter = Meter(Price(1e6, 1e6))
        asked = Endpoint(parse_spec(f"{server.url}:m"), meter, pause=0.01)
        asked.complete(Call("c", prompt("x" * 40)), threading.Event())
    assert meter.requests == 3
    assert (meter.prompt_tokens, meter.output_tokens) == (20, 200)  # the 500 has no usage
    assert meter.money == 220


# keys


@pytest.fixture
def key(monkeypatch):
    monkeypatch.setenv("RAGTUNE_API_KEY", KEY)


def test_the_key_reaches_the_server(key):
    with FaultServer(key=KEY) as server:
        assert isinstance(ask(server), Reply)


def test_openai_without_a_key_names_the_variable():
    with pytest.raises(StageError, match="OPENAI_API_KEY"):
        Endpoint(parse_spec("openai:gpt-4o-mini"), Meter(None)).complete(PLAIN, threading.Event())


def test_the_key_of_openai_is_for_openai_alone(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with FaultServer(key=KEY) as server, pytest.raises(StageError, match="RAGTUNE_API_KEY"):
        ask(server)


@pytest.mark.parametrize("fault", ["401", "500", "reset", "truncated", "slow"])
def test_the_key_is_in_no_log_no_error_and_no_repr(key, caplog, fault):
    caplog.set_level(logging.DEBUG)
    wanted = "another" if fault == "401" else KEY  # the server then repeats the whole key it got
    with FaultServer(key=wanted, faults=lambda text, attempt: fault, slow=0.5) as server:
        asked = endpoint_of(server, pause=0.001, timeout=0.05)
        try:
            told = repr(asked.complete(PLAIN, threading.Event()))
        except StageError as error:
            told = "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())
    assert ("Bearer ***" in told) == (fault == "401")
    assert KEY not in told + caplog.text + repr(asked) + repr(vars(asked.wire)) + repr(vars(asked.wire.client()))


def test_a_key_that_a_server_repeats_in_a_reply_is_not_kept(key):
    with FaultServer(lambda body: f"Your key is {KEY}.", key=KEY) as server:
        assert ask(server).text == "Your key is ***."


def test_replies_are_not_scrubbed_of_words(key):
    text = "The ring bearer carrying sk-eleton keys: Bearer something."
    with FaultServer(lambda body: text, key=KEY) as server:
        assert ask(server).text == text


def test_whatever_looks_like_a_key_goes_from_errors():
    assert scrub("Incorrect API key: sk-proj-abcdef1234. Bearer abcdef123456") == "Incorrect API key: sk-*** Bearer ***"


def test_a_key_with_a_line_break_is_explained_and_not_shown(monkeypatch):
    monkeypatch.setenv("RAGTUNE_API_KEY", "sk-secret\nsecond-line")
    with FaultServer() as server, pytest.raises(StageError, match="RAGTUNE_API_KEY") as caught:
        ask(server)
    shown = "".join(traceback.TracebackException.from_exception(caught.value, capture_locals=True).format())
    assert "RAGTUNE_API_KEY" in shown and "sk-secret" not in shown.replace('setenv("RAGTUNE_API_KEY", "sk-secret', "")


def test_texts_that_have_no_utf8_are_sent_and_kept_all_the_same(tmp_path):
    with FaultServer(lambda body: '{"n": "\\ud83d"}') as server:
        model = open_model(f"{server.url}:m", tmp_path / "c")
        calls = [Call("c", prompt("half a smile: \ud83d"), schema={"type": "object", "properties": {"n": {}}})]
        assert model.ask("stage", calls).results[0].reply.data == {"n": "?"}
        assert model.ask("stage", calls).results[0].cached
    assert server.bodies[0]["messages"][0]["content"] == "half a smile: ?"


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({"error": {"message": "too  long"}}, "too long"),
        ({"detail": "Unexpected fields"}, "Unexpected fields"),
        ({"error": "overloaded"}, "overloaded"),
        (None, "<html>Bad gateway</html>"),
    ],
)
def test_the_words_of_an_error_are_found(body, text):
    got = Answered(500, {}, body, json.dumps(body) if body else "<html>Bad \n gateway</html>", 0.1)
    assert error_text(got) == text
