"""How a stage goes: what succeeded, what failed and why, and when to go on would only cost time or money."""

from __future__ import annotations

import threading
import time
from collections import Counter
from dataclasses import dataclass, field

from ragtune_lib.llm.calls import Reply, Result, Unusable
from ragtune_lib.llm.cost import reasons

HOPELESS = 32  # first results of a stage that all failed: the rest is not tried
EXHAUSTED = ("no connection", "timeout", "rate limit", "broken answer", "HTTP 5")  # retried in vain
REPLY_FAULTS = ("refused", "cut off", "empty", "unreadable")  # of one reply, not of the server


@dataclass
class Tally:
    """How a stage went so far."""

    ok: int = 0
    cached: int = 0  # of these, from the cache
    failed: Counter[str] = field(default_factory=Counter)  # by kind of reason
    started: float = field(default_factory=time.perf_counter)

    def add(self, result: Result) -> None:
        """Count a result."""
        if result.problem:
            self.failed[result.problem.reason.split(":")[0]] += 1
        else:
            self.ok += 1
            self.cached += result.cached

    def __str__(self) -> str:
        """`981 ok (400 kept from before), 19 failed: 12 refused, 7 cut off`."""
        kept = f" ({self.cached:,} kept from before)" if self.cached else ""
        return f"{self.ok:,} ok{kept}, {self.failed.total():,} failed" + (
            f": {reasons(self.failed)}" if self.failed else ""
        )


class Outlook:
    """Watches a stage for the point at which to go on would only cost time or money."""

    def __init__(self, workers: int):
        self.workers, self.ok, self.failed, self.in_vain = workers, 0, 0, 0
        self.given_up = ""  # why
        self._lock = threading.Lock()

    def hopeless(self, found: Reply | Unusable) -> bool:
        """Count a result; whether the rest is not worth trying: the server is gone, or nothing succeeds at all."""
        if isinstance(found, Unusable) and found.kind in ("budget reached", "not asked"):
            return bool(self.given_up)
        good = isinstance(found, Reply)
        with self._lock:
            self.ok += good
            self.failed += not good
            self.in_vain = 0 if good or not found.kind.startswith(EXHAUSTED) else self.in_vain + 1
            if self.given_up:
                return True
            if self.in_vain >= self.workers:
                self.given_up = f"{self.in_vain} calls in a row failed after all their repetitions"
            elif not self.ok and self.failed >= HOPELESS:
                self.given_up = f"the first {self.failed} calls all failed"
            return bool(self.given_up)
