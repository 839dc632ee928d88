"""The one seam to models: many calls in, one result for each out, and nothing that was paid for is lost.

    model = open_model("openai:gpt-4o-mini", folder / "calls.sqlite", budget=2.0)
    model.forecast(calls)                  # calls, tokens and money, before anything is spent
    asked = model.ask("03_synthesize", calls)
    asked.results, asked.problems          # in the order of the calls; every call is in one of the two

A reply is on the disk before anyone sees it. A stage that is killed and started again makes none of its finished calls
again. What is cut off, refused, empty or unreadable is a Problem and asked again by the next run.
"""

from __future__ import annotations

import queue
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from ragtune_lib.llm.calls import Call, Reply, Result, StageError, Unusable, call_key, parse_spec
from ragtune_lib.llm.cost import Forecast, Meter, forecast, price_of, reasons
from ragtune_lib.llm.endpoint import Endpoint
from ragtune_lib.llm.replies import check_schema, read_reply
from ragtune_lib.llm.reply_cache import ReplyCache
from ragtune_lib.llm.tally import Outlook, Tally
from ragtune_lib.models import progress
from ragtune_lib.records import Problem

AHEAD = 2_000  # calls between the first unanswered one and the last one that is looked at; bounds the memory
BEAT = 5.0  # seconds without a result after which the progress bar says that it is alive
LAST_WORDS = 5.0  # seconds that calls on their way get to come home after Ctrl-C


@dataclass(frozen=True, slots=True)
class Asked:
    """What came of a stage's calls; every call is in `results` with a reply, or in `problems`."""

    results: tuple[Result, ...]  # those with a reply, in the order of the calls
    problems: tuple[Problem, ...]  # likewise
    summary: str


@dataclass
class Scripted:
    """A model whose replies are made by a function: for tests and dry runs. It remembers what it was asked."""

    reply: Callable[[Call], str]
    identity: str = "scripted"
    asked: list[Call] = field(default_factory=list)

    def complete(self, call: Call, stop: threading.Event) -> Reply | Unusable:
        """The function's text, read as strictly as that of any model."""
        self.asked.append(call)
        text = self.reply(call)
        data, unusable = read_reply(call, text, "")
        return unusable or Reply(text, data, self.identity, call.characters // 4, len(text) // 4, 0.0)


def open_model(
    spec: str,
    cache: Path,
    budget: float | None = None,
    workers: int = 16,
    requests_per_minute: float | None = None,
    tokens_per_minute: float | None = None,
    timeout: float = 300.0,
    loaded: tuple[Any, Any] | None = None,
) -> Model:
    """Make a model ready to be asked; nothing is loaded or sent yet.

    Args:
        spec: "embedded", a folder, a hub id, "openai:MODEL", or a base URL and a model (see `calls`).
        cache: File of the kept replies; several models, runs and processes may share one.
        budget: US dollars for all stages of this model object; None for no limit.
        workers: Calls at a time; without meaning for a model that runs here.
        requests_per_minute: Upper limit; None takes the server's own.
        tokens_per_minute: Likewise.
        timeout: Seconds without a byte from the server after which a request is repeated; the next ones wait longer.
        loaded: Weights and tokenizer of a model that runs here, where they are in memory already.

    Raises:
        ValueError: for a spec that is none, or a budget for a model without a known price.
    """
    parsed = parse_spec(spec)
    meter = Meter(price_of(parsed), budget)
    if parsed.local:
        from ragtune_lib.llm.local_model import LocalModel

        return Model(parsed.name, ReplyCache(cache), LocalModel(parsed.model, meter, loaded), meter, 1)
    endpoint = Endpoint(parsed, meter, workers, requests_per_minute, tokens_per_minute, timeout)
    return Model(parsed.name, ReplyCache(cache), endpoint, meter, workers)


class Model:
    """A model with its kept replies.

    Args:
        name: The spec.
        cache: Of the replies.
        backend: What answers: `complete(call, stop)` for one call, or `complete_many(calls, done)` for many at once;
            `identity` is what its answers depend on beside the call.
        meter: Of its cost.
        workers: Threads that ask.
    """

    def __init__(self, name: str, cache: ReplyCache, backend: Any, meter: Meter, workers: int = 16):
        self.name, self.cache, self.backend, self.meter, self.workers = name, cache, backend, meter, workers
        self._flying: dict[str, list[tuple[queue.SimpleQueue, int]]] = {}  # who waits for a call on its way
        self._lock = threading.Lock()

    def key(self, call: Call) -> str:
        """Under which the reply of a call is kept."""
        return call_key(self.backend.identity, call)

    def forecast(self, calls: Iterable[Call]) -> Forecast:
        """Calls, tokens and money that a stage will take; nothing is sent."""
        seen: set[str] = set()

        def each() -> Iterator[tuple[Call, bool]]:
            for call in calls:
                key = self.key(call)
                yield call, key in seen or self.cache.get(key) is not None
                seen.add(key)

        return forecast(parse_spec(self.name), each(), self.cache.usage(self.name), self.meter.price)

    def ask(self, stage: str, calls: Iterable[Call]) -> Asked:
        """Ask all calls and print what became of them.

        Raises:
            StageError: if not one call succeeded, or none can (key, model, quota); `problems` of the error has those
                known by then. Replies that came are kept.
        """
        tally, results, problems = Tally(), [], []
        try:
            for result in self.stream(stage, calls, tally):
                (problems if result.problem else results).append(result.problem or result)
        except StageError as error:
            error.problems = error.problems or tuple(problems)
            raise
        return Asked(tuple(results), tuple(problems), str(tally))

    def stream(self, stage: str, calls: Iterable[Call], tally: Tally | None = None) -> Iterator[Result]:
        """Ask all calls; yield their results in order, each as soon as all before it are there.

        The memory does not grow with the number of calls if `calls` is an iterator and the results are not collected.

        Args:
            stage: Name of the stage, for the progress bar and the problems.
            calls: What to ask.
            tally: Counted up while it runs.

        Raises:
            StageError: as in `ask`; for "no success" after the last result.
            ValueError: for a schema that cannot be checked.
        """
        tally = tally or Tally()
        bar = progress(len(calls) if isinstance(calls, Sequence) else 0, stage, "call")
        self.meter.reached = False
        answers = self._locally if hasattr(self.backend, "complete_many") else self._in_threads
        last, before = "", self.meter.counts()
        try:
            for result in answers(stage, _checked(calls), lambda: self._show(bar, tally, before, True)):
                tally.add(result)
                last = result.problem.reason if result.problem else last
                self._show(bar, tally, before)
                bar.update()
                yield result
        finally:
            bar.close()
            seconds = time.perf_counter() - tally.started
            sys.stdout.write(f"{stage}: {tally}; {self.meter.spent(before)}, {seconds:.1f} s\n")
            sys.stdout.flush()
        if tally.failed and not tally.ok:
            raise StageError(f"{stage}: not one call succeeded ({reasons(tally.failed)}); the last said: {last:.300}")

    def _show(self, bar: Any, tally: Tally, before: tuple, alive: bool = False) -> None:
        """Put the cost so far beside the progress bar; and why nothing moves, if it does not."""
        pause = self.backend.limiter.until - time.monotonic() if alive and hasattr(self.backend, "limiter") else 0.0
        held = f", the server asks to wait {pause:.0f} s more" if pause > 0 else ""
        late = self.backend.wire.given_up if hasattr(self.backend, "wire") else 0
        held += f", {late} times no reply in time" if late else ""
        bar.set_postfix_str(f"{self.meter.spent(before)}, {tally.failed.total()} failed{held}", refresh=alive)

    def keep(self, key: str, call: Call, found: Reply | Unusable) -> None:
        """Put a reply on the disk; what is unusable is not kept."""
        if isinstance(found, Reply):
            self.cache.put(key, self.name, call, found)

    def _result(self, stage: str, call: Call, found: Reply | Unusable, cached: bool = False) -> Result:
        if isinstance(found, Reply):
            return Result(call, found, None, cached)
        reason = f"{found.kind}: {found.detail}" if found.detail else found.kind
        return Result(call, None, Problem(stage, call.item, reason, found.text))

    def _locally(self, stage: str, calls: Iterator[Call], beat: Callable[[], None]) -> Iterator[Result]:
        """Window by window through a model that runs here and likes many calls at once."""
        while window := list(islice(calls, AHEAD)):
            keys = [self.key(call) for call in window]
            due = {key: call for key, call in zip(keys, window, strict=True) if self.cache.get(key) is None}
            found: dict[str, Reply | Unusable] = {}

            def done(key: str, reply: Reply | Unusable, due: dict = due, found: dict = found) -> None:
                self.keep(key, due[key], reply)
                found[key] = reply

            if due:
                self.backend.complete_many(due, done)
            for key, call in zip(keys, window, strict=True):
                reply = found.get(key) or self.cache.get(key) or Unusable("not asked")
                yield self._result(stage, call, reply, key not in due)

    def _in_threads(self, stage: str, calls: Iterator[Call], beat: Callable[[], None]) -> Iterator[Result]:
        """Through worker threads; the caller's thread looks up kept replies and hands the results on in order."""
        stop, tasks, done = threading.Event(), queue.SimpleQueue(), queue.SimpleQueue()
        workers: list[threading.Thread] = []
        open_calls: dict[int, Call] = {}
        results: dict[int, Result] = {}
        first = position = 0  # the next result to hand on, the next call to look at
        outlook = Outlook(self.workers)
        more = True
        try:
            while more or first < position:
                while more and position - first < AHEAD and first not in results:
                    if (call := next(calls, None)) is None:
                        more = False
                        break
                    found = self._take_off(call, tasks, (done, position), outlook.given_up)
                    if found is not None:
                        results[position] = self._result(stage, call, found, True)
                        outlook.hopeless(found)
                    else:
                        open_calls[position] = call
                        if len(workers) < self.workers:
                            workers.append(
                                threading.Thread(target=self._work, args=(tasks, stop, outlook), daemon=True)
                            )
                            workers[-1].start()
                    position += 1
                if first not in results and open_calls:
                    try:
                        place, found = done.get(timeout=BEAT)
                    except queue.Empty:
                        beat()
                        continue
                    if isinstance(found, Exception):
                        raise found
                    results[place] = self._result(stage, open_calls.pop(place), found)
                while first in results:
                    yield results.pop(first)
                    first += 1
        finally:
            stop.set()
            for _ in workers:
                tasks.put(None)
            until = time.monotonic() + LAST_WORDS
            for worker in workers:  # idle ones end at once; what is on its way comes home and is kept
                worker.join(max(0.0, until - time.monotonic()))

    def _take_off(
        self, call: Call, tasks: queue.SimpleQueue, waiter: tuple[queue.SimpleQueue, int], given_up: str
    ) -> Reply | Unusable | None:
        """The kept reply of a call; or None, and the call is on its way, once for all who wait for it."""
        key = self.key(call)
        with self._lock:  # a call leaves the flying ones after its reply is kept: it is always in one of the two
            if key in self._flying:
                self._flying[key].append(waiter)
                return None
            found = self.cache.get(key)
            if found is None and given_up:
                return Unusable("not asked", given_up)
            if found is None:
                self._flying[key] = [waiter]
                tasks.put((key, call))
            return found

    def _work(self, tasks: queue.SimpleQueue, stop: threading.Event, outlook: Outlook) -> None:
        """What each worker thread does until it gets None."""
        while (task := tasks.get()) is not None:
            key, call = task
            found: Any = Unusable("not asked")
            try:
                if (kept := self.cache.get(key)) is not None:  # another process has it by now
                    found = kept
                elif not stop.is_set():
                    found = self.backend.complete(call, stop)
                    self.keep(key, call, found)
            except Exception as error:  # noqa: BLE001  raised again by the thread that asked
                stop.set()
                found = error
            if not isinstance(found, Exception) and outlook.hopeless(found):
                stop.set()
            if isinstance(found, Unusable) and found.kind == "not asked":
                found = Unusable("not asked", outlook.given_up or "the stage was stopped")
            with self._lock:
                waiters = self._flying.pop(key)
            for done, position in waiters:
                done.put((position, found))


def _checked(calls: Iterable[Call]) -> Iterator[Call]:
    """The calls, once it is clear that each can be asked and its reply checked."""
    known: dict[int, Any] = {}
    for call in calls:
        if not call.messages:
            raise ValueError(f"{call.item}: a call without messages")
        if call.schema is not None and id(call.schema) not in known:
            check_schema(call.schema)
            known[id(call.schema)] = call.schema  # held, so that the id stays its own
        yield call
