"""The seam against a server that nobody here wrote: `transformers serve` over the embedded model."""

import importlib.util
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

import pytest
from fault_proxy import FaultServer, some_faults

from ragtune_lib.llm import limits, open_model
from ragtune_lib.llm.calls import Call, prompt
from ragtune_lib.models import model_path

# what `transformers serve` itself wants beyond our own requirements; `pip install "transformers[serving]"` has them
MISSING = [name for name in ("fastapi", "uvicorn", "openai", "pydantic") if importlib.util.find_spec(name) is None]
QUESTIONS = ["What is the capital of France?", "Name a colour.", "What is two plus two?", "Who wrote Hamlet?"]
SCHEMA = {"type": "object", "properties": {"answer": {"type": "string"}}, "required": ["answer"]}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """Base URL and model of a running server."""
    folder, log = model_path("embedded"), tmp_path_factory.mktemp("serve") / "log"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "transformers.cli.transformers", "serve", folder]
    with log.open("w") as stream:
        process = subprocess.Popen(
            [*command, "--host", "127.0.0.1", "--port", str(port)],
            stdout=stream, stderr=stream, env={**os.environ, "HF_HUB_OFFLINE": "1"},
        )  # fmt: skip
    try:
        until = time.monotonic() + 240
        while not healthy(f"http://127.0.0.1:{port}/health"):
            assert process.poll() is None and time.monotonic() < until, log.read_text()[-2000:]
            time.sleep(0.5)
        yield f"http://127.0.0.1:{port}/v1", folder
    finally:
        process.terminate()
        process.wait(30)


def healthy(url):
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.status == 200
    except (urllib.error.URLError, OSError):
        return False


@pytest.mark.model
@pytest.mark.skipif(bool(MISSING), reason=f"`transformers serve` needs {', '.join(MISSING)}")
def test_a_real_server_answers_also_behind_faults(server, tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "FIRST", 0.05)
    url, name = server
    calls = [Call(f"q{number}", prompt(text), max_tokens=120) for number, text in enumerate(QUESTIONS)]
    model = open_model(f"{url}:{name}", tmp_path / "c", workers=2)
    asked = model.ask("direct", calls)
    assert len(asked.results) + len(asked.problems) == len(calls)
    assert {problem.reason.split(":")[0] for problem in asked.problems} <= {"cut off"}
    direct = {result.call.item: result.reply for result in asked.results}
    assert "Paris" in direct["q0"].text
    assert all(reply.prompt_tokens > 5 and 0 < reply.output_tokens < 120 for reply in direct.values())
    assert model.ask("again", [result.call for result in asked.results]).summary.endswith("0 failed")
    assert model.meter.requests == len(calls)

    # it takes `response_format` and ignores it: the schema has to be spelt out, and the reply checked
    shaped = [Call("s0", prompt('Fill in {"answer": ...} with the name of a fruit.'), max_tokens=60, schema=SCHEMA)]
    tally = [*model.stream("schema", [*calls, *shaped])][-1]
    assert (tally.reply and isinstance(tally.reply.data["answer"], str)) or tally.problem.reason

    faults = some_faults(0.5, ["429 after", "429", "502", "reset", "truncated", "empty"])
    with FaultServer(upstream=url, faults=faults) as proxy:
        behind = open_model(f"{proxy.url}:{name}", tmp_path / "c", workers=2)
        behind.backend.pause = 0.05
        found = {result.call.item: result.reply for result in behind.ask("behind faults", calls).results}
        assert sum(proxy.given.values()) > len(calls)  # there were faults
    assert {item: reply.text for item, reply in found.items()} == {item: reply.text for item, reply in direct.items()}
