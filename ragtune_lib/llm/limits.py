"""How fast an endpoint may be asked: requests and tokens per minute, and pauses that all workers keep together.

The limits come from the server: from its `x-ratelimit-*` headers, and from its answers 429. After a 429 everyone waits
as long as the server asks (or 1, 2, 4 ... 60 seconds) and then goes on at four fifths of the pace; every success adds
two percent until the old pace is reached.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

SPAN = 10.0  # seconds' worth of a limit that may be used at once
FIRST = 1.0  # seconds of the first pause for which the server gave no length; doubled each time
LONGEST = 60.0  # seconds of such a pause
SLOWEST = 6.0  # requests per minute below which a 429 does not push the pace
FEW = 16  # requests in a minute, below which the pace is left alone


class Bucket:
    """A token bucket: fills with `limit / 60` a second, up to ten seconds' worth."""

    def __init__(self, limit: float):
        self.asked = self.ceiling = self.limit = limit  # per minute; the user's, the server's, the present pace
        self.level, self.at = self.capacity, 0.0

    @property
    def capacity(self) -> float:
        """What may be taken at once."""
        return max(1.0, self.limit * SPAN / 60)

    def fill(self, now: float) -> None:
        """Let time pass."""
        if not math.isinf(self.limit):
            self.level = min(self.capacity, self.level + self.limit / 60 * max(0.0, now - self.at))
        self.at = now

    def missing(self, need: float) -> float:
        """Seconds until `need` can be taken; more than fits in counts as what fits in."""
        if math.isinf(self.limit):
            return 0.0
        return max(0.0, (min(need, self.capacity) - self.level) * 60 / self.limit)

    def take(self, need: float) -> None:
        """Take it, or put it back if negative."""
        if not math.isinf(self.limit):
            self.level = min(self.capacity, self.level - min(need, self.capacity))

    def told(self, limit: float | None, remaining: float | None) -> None:
        """Adopt what the server says; zero or less means that it says nothing."""
        if limit is None or limit <= 0:
            return
        top = min(self.asked, limit)
        if top != self.ceiling:
            unlimited = math.isinf(self.limit)
            self.ceiling = self.limit = top
            self.level = self.capacity if unlimited else min(self.level, self.capacity)
        if remaining is not None and remaining >= 0:
            self.level = min(self.level, remaining)

    def slow(self, pace: float) -> None:
        """Go on at this pace, from an empty bucket."""
        self.limit = min(self.limit, pace)
        self.level = 0.0

    def recover(self) -> None:
        """Two percent faster, up to the ceiling."""
        if self.limit < self.ceiling:
            self.limit = min(self.ceiling, self.limit * 1.02)


class Limiter:
    """The pace of all workers of one endpoint.

    Args:
        requests: per minute, as far as known before the server says.
        tokens: per minute, likewise; asked and answered together.
    """

    def __init__(self, requests: float = math.inf, tokens: float = math.inf):
        self.requests, self.tokens = Bucket(requests), Bucket(tokens)
        self.until = 0.0  # nobody sends before
        self.pauses = 0  # since the last success
        self._cooled, self._sent = -math.inf, deque(maxlen=64)
        self._lock = threading.Lock()

    def acquire(self, tokens: float, stop: threading.Event) -> bool:
        """Wait until a request with so many tokens may be sent.

        Returns:
            False if `stop` was set meanwhile; nothing is taken then.
        """
        while not stop.is_set():
            with self._lock:
                now = time.monotonic()
                self.requests.fill(now)
                self.tokens.fill(now)
                wait = max(self.until - now, self.requests.missing(1), self.tokens.missing(tokens))
                if wait <= 0:
                    self.requests.take(1)
                    self.tokens.take(tokens)
                    self._sent.append(now)
                    return True
            stop.wait(min(wait, 1.0))
        return False

    def succeeded(self, reserved: float, used: float) -> None:
        """A reply came: put back the tokens that it did not need, and speed up again after a pause."""
        with self._lock:
            self.pauses = 0
            self.tokens.take(used - reserved)
            self.requests.recover()
            self.tokens.recover()

    def failed(self, reserved: float) -> None:
        """No reply came: put back the tokens."""
        with self._lock:
            self.tokens.take(-reserved)

    def told(self, headers: Mapping[str, str]) -> None:
        """Adopt the limits in the headers of a response.

        `x-ratelimit-reset-*` is left alone: it says when the limit is full again, not when one may ask again.
        """
        with self._lock:
            for name, bucket in (("requests", self.requests), ("tokens", self.tokens)):
                bucket.fill(time.monotonic())
                limit = _number(headers.get(f"x-ratelimit-limit-{name}"))
                bucket.told(limit, _number(headers.get(f"x-ratelimit-remaining-{name}")))

    def refused(self, sent: float, retry_after: float | None) -> None:
        """The server answered 429, or 503 with a time to wait: everyone pauses.

        Refusals of requests that were sent before the pause began belong to it and slow nothing down further.

        Args:
            sent: when the refused request was sent (`time.monotonic`).
            retry_after: seconds, or None where the server gave none.
        """
        with self._lock:
            now = time.monotonic()
            if sent > self._cooled:
                self.pauses += 1
                self._cooled = now
                self.requests.slow(max(SLOWEST, 0.8 * min(self.requests.limit, self._pace(now))))
                self.requests.at = now
            pause = min(LONGEST, FIRST * 2.0 ** (self.pauses - 1)) if retry_after is None else retry_after
            self.until = max(self.until, now + pause)

    def _pace(self, now: float) -> float:
        """Requests per minute of late; infinite where too few were sent for the pace to be what is wrong."""
        times = [sent for sent in self._sent if sent > now - 60]
        return 60 * len(times) / max(now - times[0], 0.01) if len(times) >= FEW else math.inf


def _number(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that a server asks to wait, by `retry-after-ms` or `retry-after` (a number or a date); None for none."""
    milliseconds, seconds = _number(headers.get("retry-after-ms")), _number(headers.get("retry-after"))
    if milliseconds is not None or seconds is not None:
        return max(0.0, milliseconds / 1000 if milliseconds is not None else seconds)
    try:
        moment = parsedate_to_datetime(headers.get("retry-after") or "")
    except ValueError:
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())
