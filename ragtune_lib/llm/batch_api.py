"""A provider's batch interface: the same replies within a day, at half the price.

A batch does nothing but fill the cache. After it the stage asks its calls as always: what came is kept already, what
did not (rows that failed, a batch that expired) is asked one by one.

    prefetch(model, "03_synthesize", calls)    # waits; may be killed and called again
    model.ask("03_synthesize", calls)

The plan of a batch is on the disk before it is handed in, and the batch carries the plan's mark: a kill between the
two neither loses a paid batch nor pays for it twice.
"""

from __future__ import annotations

import json
import math
import threading
import time
from collections.abc import Iterable, Iterator
from typing import Any

from ragtune_lib.llm.calls import Call, Reply, StageError
from ragtune_lib.llm.endpoint import ATTEMPTS, TRANSIENT, Endpoint
from ragtune_lib.llm.model import Model
from ragtune_lib.llm.wire import Answered, choice_of, error_text
from ragtune_lib.models import progress
from ragtune_lib.store import content_id

ENDED = {"completed", "failed", "expired", "cancelled"}
MOST_ROWS, MOST_BYTES = 20_000, 90_000_000  # per batch; OpenAI takes 50,000 and 200 MB
MARK = "ragtune"  # name of our entry in a batch's metadata


def prefetch(model: Model, stage: str, calls: Iterable[Call], poll: float = 30.0) -> str:
    """Have the calls that are due answered by batches, and wait for them.

    Batches of an earlier, interrupted run are continued. Where a budget does not cover all calls, as many are handed
    in as it does.

    Args:
        model: An endpoint with a batch interface.
        stage: For the progress bar.
        calls: Of the stage.
        poll: Seconds between two looks.

    Returns:
        What came of it: "950 replies kept, 50 rows without a usable reply".

    Raises:
        StageError: if the model has no batch interface, or does not take the key.
    """
    if not isinstance(model.backend, Endpoint):
        raise StageError(f"{model.name} runs here: it has no batch interface")
    return _Batches(model, {model.key(call): call for call in calls}).run(stage, poll)


class _Batches:
    def __init__(self, model: Model, calls: dict[str, Call]):
        self.model, self.calls = model, calls
        self.endpoint: Endpoint = model.backend
        self.kept = self.lost = 0

    def run(self, stage: str, poll: float) -> str:
        """Continue what is under way, hand in what is due, wait for all of it."""
        cache, identity = self.model.cache, self.endpoint.identity
        under_way = {}
        for mark, batch, keys in cache.open_batches(identity):
            if not self.calls.keys() & set(keys):
                continue  # of another stage
            if batch or (batch := self._find(mark)):
                cache.note_batch(mark, identity, batch, keys)
                under_way[batch] = (mark, keys)
            else:
                cache.forget_batch(mark)  # was never handed in
        taken = {key for _, keys in under_way.values() for key in keys}
        due = [key for key in self.calls if key not in taken and cache.get(key) is None]
        for keys, rows in self._parts(self._affordable(due)):
            mark = content_id(keys, time.time())
            cache.note_batch(mark, identity, "", keys)
            batch = self._hand_in(mark, rows)
            cache.note_batch(mark, identity, batch, keys)
            under_way[batch] = (mark, keys)
        bar = progress(sum(len(keys) for _, keys in under_way.values()), f"{stage}, batch", "call")
        while under_way:
            for batch in list(under_way):
                state = self._ask("GET", f"/batches/{batch}").body
                if state.get("status") in ENDED:
                    mark, keys = under_way.pop(batch)
                    self._collect(state, keys)
                    cache.forget_batch(mark)
                    bar.update(len(keys))
            if under_way:
                time.sleep(poll)
        bar.close()
        return f"{self.kept:,} replies kept, {self.lost:,} rows without a usable reply"

    def _affordable(self, due: list[str]) -> list[str]:
        """As many of the due calls as the budget surely covers."""
        meter = self.model.meter
        if meter.budget is None:
            return due
        room, chosen = meter.budget - meter.money, []
        for key in due:
            call = self.calls[key]
            most = meter.most(call.characters / self.endpoint.characters + 4, call.max_tokens)
            room -= most * (meter.price.batch if meter.price else 1.0)
            if room < 0:
                break
            chosen.append(key)
        return chosen

    def _parts(self, due: list[str]) -> Iterator[tuple[list[str], bytes]]:
        """The due calls as files of the batch interface, each within its limits."""
        keys, rows, size = [], [], 0
        for key in due:
            call = self.calls[key]
            row = {
                "custom_id": key,
                "method": "POST",
                "url": "/v1/chat/completions",
                "body": self.endpoint.body(call, self.endpoint.messages(call)),
            }
            line = json.dumps(row, ensure_ascii=False).encode("utf-8", "replace") + b"\n"
            if keys and (len(keys) >= MOST_ROWS or size + len(line) > MOST_BYTES):
                yield keys, b"".join(rows)
                keys, rows, size = [], [], 0
            keys.append(key)
            rows.append(line)
            size += len(line)
        if keys:
            yield keys, b"".join(rows)

    def _hand_in(self, mark: str, rows: bytes) -> str:
        """Upload a file and start its batch, once: a lost answer is looked up and not asked again.

        Returns:
            The batch's id.
        """
        file = {"file": (f"{mark}.jsonl", rows, "application/jsonl")}
        uploaded = self._ask("POST", "/files", files=file, data={"purpose": "batch"}).body["id"]
        wish = {
            "input_file_id": uploaded,
            "endpoint": "/v1/chat/completions",
            "completion_window": "24h",
            "metadata": {MARK: mark},
        }
        got = self.endpoint.wire.exchange("POST", "/batches", wish)
        batch = str(got.body["id"]) if got.status == 200 and isinstance(got.body, dict) else self._find(mark)
        return batch or str(self._ask("POST", "/batches", body=wish).body["id"])

    def _find(self, mark: str) -> str:
        """Id of the batch with this mark, "" if it was never handed in."""
        after = ""
        while True:
            page = self._ask("GET", "/batches", params={"limit": "100", **({"after": after} if after else {})}).body
            for batch in page.get("data", []):
                if (batch.get("metadata") or {}).get(MARK) == mark:
                    return str(batch["id"])
            if not page.get("has_more") or not page.get("data"):
                return ""
            after = str(page["data"][-1]["id"])

    def _collect(self, state: dict[str, Any], keys: list[str]) -> None:
        """Put the replies of an ended batch into the cache."""
        kept = self.kept
        if state.get("output_file_id"):
            text = self._ask("GET", f"/files/{state['output_file_id']}/content", lines=True).text
            for line in text.split("\n"):
                self._keep(line)
        self.lost += len(keys) - (self.kept - kept)

    def _keep(self, line: str) -> None:
        """One row of an output file: a reply that can be used is kept, any other row is left to a normal call."""
        try:
            row = json.loads(line)
            body, call = row["response"]["body"], self.calls[row["custom_id"]]
        except (ValueError, KeyError, TypeError):
            return
        if choice_of(body) is None:
            return
        found, used = self.endpoint.accept(call, body, call.characters / self.endpoint.characters, 0.0)
        price = self.model.meter.price
        self.model.meter.settle(0.0, 1, *used, share=price.batch if price else 1.0)
        if isinstance(found, Reply):
            self.model.keep(row["custom_id"], call, found)
            self.kept += 1

    def _ask(self, method: str, path: str, lines: bool = False, **content: Any) -> Answered:
        """One exchange with repetitions.

        Args:
            method: "GET" or "POST".
            path: Below the base URL.
            lines: The answer is a file and not one JSON document.
            content: Parameters or body.

        Raises:
            StageError: if the server does not answer, or has no batch interface.
        """
        pause, got = threading.Event(), None
        for attempt in range(ATTEMPTS):
            got = self.endpoint.wire.exchange(method, path, **content)
            if got.status == 200 and (lines or isinstance(got.body, dict)):
                return got
            if got.status not in TRANSIENT | {0, 200, 429}:
                break
            pause.wait(min(math.ldexp(self.endpoint.pause, attempt), 60.0))
        said = error_text(got)[:300] if got else ""
        raise StageError(f"{self.endpoint.spec.base_url}{path} answered {got and got.status}: {said}")
