import math
import threading
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from ragtune_lib.llm import limits
from ragtune_lib.llm.limits import Bucket, Limiter, retry_after


@pytest.fixture
def clock(monkeypatch):
    """Time that passes only where a test, or a wait, lets it."""

    class Clock:
        now = 1000.0

        def monotonic(self):
            return self.now

    clock = Clock()
    monkeypatch.setattr(limits, "time", clock)
    return clock


class Waits(threading.Event):
    """A stop signal whose waiting moves the clock."""

    def __init__(self, clock):
        super().__init__()
        self.clock = clock

    def wait(self, timeout=None):
        """Let the time pass."""
        self.clock.now += timeout
        return False


def sends(limiter, clock, count, tokens=0):
    """When each of `count` requests in a row may be sent, in seconds from now."""
    started, times = clock.now, []
    for _ in range(count):
        assert limiter.acquire(tokens, Waits(clock))
        times.append(round(clock.now - started, 3))
    return times


def test_requests_go_at_the_pace_of_the_limit_after_ten_seconds_worth(clock):
    times = sends(Limiter(requests=60), clock, 15)
    assert times == pytest.approx([0] * 10 + [1, 2, 3, 4, 5])


def test_tokens_are_limited_likewise_and_unused_ones_are_given_back(clock):
    limiter = Limiter(tokens=600)  # ten a second, a hundred at once
    assert sends(limiter, clock, 3, 50) == pytest.approx([0, 0, 5])
    limiter.succeeded(50, 10)
    assert sends(limiter, clock, 1, 40) == [0]
    limiter.failed(40)
    assert sends(limiter, clock, 1, 40) == [0]


def test_a_call_beyond_the_limit_waits_for_a_full_bucket_and_not_for_ever(clock):
    assert sends(Limiter(tokens=600), clock, 2, 1e9) == pytest.approx([0, 10])


def test_without_limits_nothing_waits(clock):
    assert sends(Limiter(), clock, 1000, 1e6)[-1] == 0


def test_the_server_has_the_last_word_but_not_above_the_user_s_limit(clock):
    limiter = Limiter(requests=120)
    limiter.told({"x-ratelimit-limit-requests": "60", "x-ratelimit-remaining-requests": "2"})
    assert limiter.requests.limit == 60
    assert sends(limiter, clock, 4) == pytest.approx([0, 0, 1, 2])
    limiter.told({"x-ratelimit-limit-requests": "6000"})
    assert limiter.requests.limit == 120


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"x-ratelimit-limit-requests": "-1", "x-ratelimit-remaining-requests": "0"},
        {"x-ratelimit-limit-tokens": "many"},
        {"x-ratelimit-remaining-tokens": "0"},
    ],
)
def test_headers_that_say_nothing_change_nothing(clock, headers):  # Azure sends -1 and 0
    limiter = Limiter()
    limiter.told(headers)
    assert sends(limiter, clock, 100, 1000)[-1] == 0


def test_all_wait_as_long_as_the_server_says(clock):
    limiter = Limiter()
    limiter.refused(clock.now, 7.5)
    assert sends(limiter, clock, 1)[0] == pytest.approx(7.5, abs=1e-6)


def test_without_a_time_the_pauses_double_up_to_a_minute_and_begin_anew_after_a_success(clock):
    limiter, found = Limiter(), []
    for _ in range(8):
        limiter.refused(clock.now, None)
        found.append(limiter.until - clock.now)
        clock.now = limiter.until + 0.001
    assert found == pytest.approx([1, 2, 4, 8, 16, 32, 60, 60])
    limiter.succeeded(0, 0)
    limiter.refused(clock.now, None)
    assert limiter.until - clock.now == pytest.approx(1)


def test_one_burst_of_refusals_slows_down_once(clock):
    limiter = Limiter(requests=6000)
    for _ in range(16):
        limiter.acquire(0, Waits(clock))
    sent = clock.now
    clock.now += 0.2
    limiter.refused(sent, 1)
    pace = limiter.requests.limit
    for _ in range(15):
        limiter.refused(sent, 1)
    assert limiter.requests.limit == pace == pytest.approx(0.8 * 60 * 16 / 0.2)
    clock.now += 2
    limiter.refused(clock.now, 1)
    assert limiter.requests.limit < pace


def test_the_pace_comes_back_after_successes(clock):
    limiter = Limiter(requests=6000)
    for _ in range(100):
        limiter.refused(clock.now, 1)
        clock.now += 2
    assert limiter.requests.limit == limits.SLOWEST
    steps = math.ceil(math.log(6000 / limits.SLOWEST, 1.02))
    for _ in range(steps - 1):
        limiter.succeeded(0, 0)
    assert limiter.requests.limit < 6000
    limiter.succeeded(0, 0)
    assert limiter.requests.limit == 6000


def test_a_refusal_of_a_few_requests_is_not_about_their_pace(clock):
    limiter = Limiter()
    for _ in range(limits.FEW - 1):
        limiter.acquire(0, Waits(clock))
    clock.now += 5
    limiter.refused(clock.now, 0)
    assert math.isinf(limiter.requests.limit)
    limiter.acquire(0, Waits(clock))
    clock.now += 5
    limiter.refused(clock.now, 0)
    assert limiter.requests.limit == pytest.approx(0.8 * 60 * limits.FEW / 10)


def test_a_stop_ends_the_waiting_and_takes_nothing(clock):
    stop = threading.Event()
    stop.set()
    limiter = Limiter(requests=60)
    assert not limiter.acquire(0, stop)
    assert sends(limiter, clock, 10)[-1] == 0


def test_many_threads_together_keep_the_limit():
    limiter, started, count = Limiter(requests=1200), time.monotonic(), 220  # 200 at once, then 20 a second
    threads = [
        threading.Thread(target=lambda: [limiter.acquire(0, threading.Event()) for _ in range(count // 10)])
        for _ in range(10)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert time.monotonic() - started >= (count - 200) / 20 - 0.05


def test_a_bucket_never_holds_more_than_its_size():
    bucket = Bucket(60)
    bucket.fill(1e6)
    bucket.take(-100)
    assert bucket.level == bucket.capacity == 10


def test_the_wait_that_a_server_asks_for():
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True)
    assert retry_after({"retry-after": "2"}) == 2
    assert retry_after({"retry-after": "1.5"}) == 1.5
    assert retry_after({"retry-after": "2", "retry-after-ms": "300"}) == 0.3
    assert 28 < retry_after({"retry-after": date}) <= 30
    assert retry_after({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}) == 0
    assert retry_after({"retry-after": "-5"}) == 0
    assert retry_after({}) is retry_after({"retry-after": "soon"}) is None
