"""What the seam to models adds to the time of the endpoint, and how fast it hands out what is kept."""

from __future__ import annotations

import contextlib
import io
import time
from collections.abc import Callable, Iterator
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ragtune_lib.llm import Model, open_model
from ragtune_lib.llm.calls import Call, prompt

from .measures import peak_mb

LATENCY, WORKERS = 0.2, 16  # seconds of the endpoint, calls at a time
WORDS = 800  # of a prompt, about those of a chunk with its instructions


def overhead(calls: int = 1_000) -> dict[str, Any]:
    """A stage of new calls against the time that the endpoint alone takes.

    Args:
        calls: in the stage.

    Returns:
        Seconds, ideal (calls x latency / workers), ratio, CPU seconds of this process (the server has its own), MB.
    """
    with server() as url, TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        model = open_model(f"{url}:m", Path(folder) / "calls.sqlite", workers=WORKERS)
        model.ask("warm up", list(_calls(WORKERS, "warm up ")))
        started, cpu = time.perf_counter(), time.process_time()
        ok = len(model.ask("stage", _calls(calls)).results)
        seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
    ideal = calls * LATENCY / WORKERS
    return {"calls": calls, "ok": ok, "seconds": seconds, "ideal": ideal, "ratio": seconds / ideal, "cpu": cpu,
            "peak_mb": peak_mb()}  # fmt: skip


def kept(few: int = 5_000, many: int = 20_000) -> dict[str, Any]:
    """Replies that are handed out again per second, and what the memory does when there are more of them.

    Args:
        few: replies in the first pass.
        many: replies in the second pass.
    """
    with server(0.0) as url, TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        file = Path(folder) / "calls.sqlite"
        first = open_model(f"{url}:m", file)
        reply = first.ask("stage", list(_calls(1))).results[0].reply
        first.cache._writer.execute("pragma synchronous=off")  # filling it is not what is measured
        for call in _calls(many):
            first.keep(first.key(call), call, reply)
        _again(first, 10)
        per_second, before = _again(first, few), peak_mb()
        return {
            "few": few, "many": many, "per_second": per_second, "per_second_many": _again(first, many),
            "mb_few": before, "mb_many": peak_mb(),
        }  # fmt: skip


def _again(model: Model, count: int) -> float:
    started = time.perf_counter()
    found = sum(result.cached for result in model.stream("again", _calls(count)))
    if found != count:
        raise RuntimeError(f"{found} of {count} replies are kept")
    return count / (time.perf_counter() - started)


def _calls(count: int, words: str = "word ") -> Iterator[Call]:
    return (Call(f"i{number}", prompt(f"{number} {words * WORDS}")) for number in range(count))


def _plain(body: Any) -> str:
    return "word " * 200


@contextlib.contextmanager
def server(latency: float = LATENCY, answer: Callable[[Any], str] = _plain) -> Iterator[str]:
    """A well-behaved endpoint in a process of its own; gives its base URL.

    Args:
        latency: seconds before each reply.
        answer: a function of a module: the JSON body of a request to the text of the reply.
    """
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs, latency, answer))
    process.start()
    try:
        yield ours.recv()
    finally:
        process.kill()
        process.join()


def _serve(pipe: Any, latency: float, answer: Callable[[Any], str]) -> None:
    from tests.fault_proxy import FaultServer

    with FaultServer(answer, latency=latency) as found:
        pipe.send(found.url)
        pipe.recv()
