"""Asking an OpenAI-compatible server: one call, with its retries, its limits and its faults.

Plain HTTP and not the `openai` package: the rate-limit headers are at hand, a call costs half the CPU (0.5 against 0.8
to 1.4 ms), and the key is nowhere but in the client's headers, which no traceback prints.
"""

from __future__ import annotations

import json
import math
import os
import random
import re
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ragtune_lib.calls import OPENAI_KEY, OPENAI_URL, OTHER_KEY, Call, Reply, Spec, StageError, Unusable
from ragtune_lib.cost import CHARACTERS, Meter
from ragtune_lib.limits import Limiter, retry_after
from ragtune_lib.replies import instructed, read_reply, repair, response_format

TRANSIENT = {408, 409, 425, 500, 502, 503, 504, 520, 522, 524, 529}
ATTEMPTS = 8  # at errors of server or line; with the pauses about a minute
REFUSALS = 40  # at 429: the server is alive, so it is worth the wait
EMPTY = 3  # at replies without text
LONGEST_PAUSE = 60.0  # seconds between two attempts
LONGEST_WAIT = 600.0  # seconds; a server that asks for more ends the stage
OPENAI_START = (500.0, 200_000.0)  # requests and tokens per minute of the lowest paid tier, until the headers say more
NOT_SUPPORTED = re.compile(
    r"unsupported|not support|unexpected|unrecogni[sz]ed|unknown|not allowed|extra", re.IGNORECASE
)
QUOTA = re.compile(r"insufficient_quota|billing_hard_limit|credit balance|insufficient credits", re.IGNORECASE)
SECRETS = re.compile(r"\b(sk-|Bearer\s+)[A-Za-z0-9_.*+/=-]{6,}", re.IGNORECASE)


def without_keys(text: str) -> str:
    """A text without the keys of the environment, should a server repeat one."""
    for variable in (OPENAI_KEY, OTHER_KEY):
        key = os.environ.get(variable, "").strip()
        if len(key) >= 4:
            text = text.replace(key, "***")
    return text


def scrub(text: str) -> str:
    """An error text without keys and without whatever looks like one. Not for replies: it may hit innocent words."""
    return SECRETS.sub(r"\1***", without_keys(text))


@dataclass(frozen=True, slots=True)
class Answered:
    """What came of one HTTP exchange."""

    status: int  # 0: no answer at all
    headers: Mapping[str, str]
    body: Any  # parsed JSON, or None
    text: str  # the raw answer, or what is wrong with the line; without keys
    seconds: float


class Endpoint:
    """A model behind an OpenAI-compatible server, for many threads.

    Args:
        spec: Where it is.
        meter: Counts what the calls cost, and says when the budget is reached.
        workers: Connections that are kept open.
        requests_per_minute: At most; without it what the server says.
        tokens_per_minute: At most; likewise.
        timeout: Seconds without a byte from the server after which a request is given up.
        pause: Seconds before the first repetition; doubled each time.
    """

    def __init__(
        self,
        spec: Spec,
        meter: Meter,
        workers: int = 16,
        requests_per_minute: float | None = None,
        tokens_per_minute: float | None = None,
        timeout: float = 120.0,
        pause: float = 0.5,
    ):
        start = OPENAI_START if spec.base_url == OPENAI_URL else (math.inf, math.inf)
        self.spec, self.meter, self.pause = spec, meter, pause
        self.limiter = Limiter(requests_per_minute or math.inf, tokens_per_minute or math.inf)
        self.limiter.requests.told(start[0] if math.isfinite(start[0]) else None, None)
        self.limiter.tokens.told(start[1] if math.isfinite(start[1]) else None, None)
        self.characters = CHARACTERS  # per token, corrected by what the server counts
        self.refused: set[str] = set()  # fields that the server does not take
        self.enforces = False  # it took a schema and replied by it
        self.instruct = False  # it takes a schema, and replies otherwise
        self._timeout, self._workers = timeout, workers
        self._client: Any = None
        self._lock = threading.Lock()

    @property
    def identity(self) -> str:
        """What answers depend on beside the call: one model name means different weights on different servers."""
        return f"{self.spec.base_url}:{self.spec.model}"

    def client(self) -> Any:
        """The HTTP client, made at the first request, so that a stage whose replies are all kept needs no key.

        Raises:
            StageError: if OpenAI's key is missing; names the variable.
        """
        with self._lock:
            if self._client is None:
                import httpx2

                key = os.environ.get(self.spec.key_variable, "").strip()
                if not key and self.spec.base_url == OPENAI_URL:
                    raise StageError(f"{self.spec.name} needs a key: set the environment variable {OPENAI_KEY}")
                if not key.isascii() or not key.isprintable():
                    raise StageError(f"{self.spec.key_variable} holds signs that no key has; copy it again")
                self._client = httpx2.Client(
                    headers={"authorization": f"Bearer {key}"} if key else {},
                    timeout=httpx2.Timeout(self._timeout, connect=min(10.0, self._timeout)),
                    limits=httpx2.Limits(max_connections=None, max_keepalive_connections=self._workers),
                )
            return self._client

    def exchange(self, method: str, path: str, **content: Any) -> Answered:
        """One HTTP exchange. Never raises for a fault of server or line; the answer says what it was.

        Args:
            method: "GET" or "POST".
            path: Below the base URL.
            content: Body, as httpx takes it.
        """
        import httpx2

        client, started = self.client(), time.perf_counter()
        try:
            response = client.request(method, self.spec.base_url + path, **content)
            status, headers, text = response.status_code, response.headers, response.text
        except httpx2.TimeoutException:
            status, headers, text = 0, {}, "timeout"
        except (httpx2.HTTPError, httpx2.InvalidURL, httpx2.StreamError) as error:
            status, headers, text = 0, {}, f"no connection: {type(error).__name__}: {error}"
        text, body = without_keys(text) if status else scrub(text), None
        try:
            body = json.loads(text) if status else None
        except (ValueError, RecursionError):
            body = None
        return Answered(status, headers, body, text, time.perf_counter() - started)

    def complete(self, call: Call, stop: threading.Event) -> Reply | Unusable:
        """Ask until there is an answer, or it is clear that there will be none.

        An unreadable reply to a call with a schema is asked again once, with what is wrong with it.

        Returns:
            The reply, or why there is none.

        Raises:
            StageError: if no other call can succeed either: key, model or quota.
        """
        found = self._request(call, self.messages(call), stop)
        if isinstance(found, Unusable) and found.kind == "unreadable":
            if "response_format" not in self.refused and not self.enforces:
                self.instruct = True
            found = self._request(call, repair(call, found), stop)
        return found

    def messages(self, call: Call) -> tuple[tuple[str, str], ...]:
        """The first messages of a call; with the schema spelt out where the server does not enforce it."""
        return instructed(call) if call.schema and self._spelt_out() else call.messages

    def _spelt_out(self) -> bool:
        return self.instruct or "response_format" in self.refused

    def body(self, call: Call, messages: tuple[tuple[str, str], ...], without: frozenset[str] = frozenset()) -> dict:
        """The request as JSON, without the fields that the server does not take."""
        limit = "max_completion_tokens" if self.spec.base_url == OPENAI_URL else "max_tokens"
        if limit in self.refused:
            limit = "max_tokens" if limit == "max_completion_tokens" else "max_completion_tokens"
        fields: dict[str, Any] = {
            "model": self.spec.model,
            "messages": [{"role": role, "content": text} for role, text in messages],
            limit: call.max_tokens,
            "temperature": call.temperature,
        }
        if call.schema:
            fields["response_format"] = response_format(call.schema)
        left_out = self.refused - {"max_tokens", "max_completion_tokens"} | without
        return {name: value for name, value in fields.items() if name not in left_out}

    def _request(self, call: Call, messages: tuple[tuple[str, str], ...], stop: threading.Event) -> Reply | Unusable:
        """One answer to these messages, with what it cost on the meter."""
        sent = sum(len(text) for _, text in messages) + (len(json.dumps(call.schema)) if call.schema else 0)
        prompt_tokens = sent / self.characters + 4 * len(messages)
        aside = self.meter.most(prompt_tokens, call.max_tokens)
        if not self.meter.set_aside(aside, stop):
            return Unusable("not asked") if stop.is_set() else Unusable("budget reached")
        counts = {"requests": 0, "prompt_tokens": 0, "output_tokens": 0}
        try:
            return self._attempts(call, messages, prompt_tokens, counts, stop)
        finally:
            self.meter.settle(aside, **counts)
            if counts["prompt_tokens"] > 50:  # in short prompts the chat form counts for more than the text
                self.characters += 0.05 * (sent / counts["prompt_tokens"] - self.characters)

    def _attempts(
        self,
        call: Call,
        messages: tuple[tuple[str, str], ...],
        prompt_tokens: float,
        counts: dict[str, int],
        stop: threading.Event,
    ) -> Reply | Unusable:
        errors = refusals = empty = 0
        without: frozenset[str] = frozenset()
        reserved = prompt_tokens + call.max_tokens
        while self.limiter.acquire(reserved, stop):
            body, sent = self.body(call, messages, without), time.monotonic()
            counts["requests"] += 1
            got = self.exchange("POST", "/chat/completions", json=body)
            self.limiter.told(got.headers)
            if got.status == 200 and choice_of(got.body) is not None:
                found, used = self.accept(call, got.body, prompt_tokens, got.seconds)
                counts["prompt_tokens"] += used[0]
                counts["output_tokens"] += used[1]
                self.limiter.succeeded(reserved, sum(used))
                empty += isinstance(found, Unusable) and found.kind == "empty"
                if isinstance(found, Unusable) and found.kind == "empty" and empty < EMPTY:
                    continue
                if "response_format" in without:
                    self.refused.add("response_format")
                elif call.schema and isinstance(found, Reply) and not self._spelt_out():
                    self.enforces = True
                return found
            self.limiter.failed(reserved)
            trouble = self._trouble(got)
            if got.status in (400, 422):
                if self._learn(body, trouble.detail):
                    continue
                if "response_format" in body and not self.enforces:
                    # any 400 may be about the schema; servers word it in many ways. If it goes through without, it was
                    without = frozenset({"response_format"})
                    messages = instructed(call) if messages == call.messages else messages
                    continue
            if got.status == 429 or (got.status == 503 and retry_after(got.headers) is not None):
                refusals += 1
                self._hold(got, sent)
                if refusals <= REFUSALS:
                    continue
            elif got.status in TRANSIENT or got.status in (0, 200):
                errors += 1
                if errors < ATTEMPTS:
                    longest = min(LONGEST_PAUSE, self.pause * 2 ** (errors - 1))
                    stop.wait(random.uniform(longest / 2, longest))
                    continue
            return trouble
        return Unusable("not asked")

    def accept(
        self, call: Call, body: Mapping[str, Any], estimate: float, seconds: float
    ) -> tuple[Reply | Unusable, tuple[int, int]]:
        """Read a chat completion.

        Args:
            call: What was asked.
            body: The server's answer, one for which `choice_of` finds a choice.
            estimate: Prompt tokens, where the server does not count them.
            seconds: That it took.

        Returns:
            The reply, or why it is none; and the tokens that were read and written.
        """
        choice, usage = choice_of(body), body.get("usage")
        message = choice["message"]
        text = message.get("content")
        # a lone surrogate, which JSON may carry, can be neither stored nor shown
        text = text.encode("utf-8", "replace").decode() if isinstance(text, str) else ""
        refusal, finish = message.get("refusal"), choice.get("finish_reason")
        usage = usage if isinstance(usage, dict) else {}
        used = (
            _count(usage.get("prompt_tokens"), round(estimate)),
            _count(usage.get("completion_tokens"), math.ceil(len(text) / self.characters)),
        )
        data, unusable = read_reply(
            call, text, finish if isinstance(finish, str) else "", refusal if isinstance(refusal, str) else ""
        )
        if unusable:
            return unusable, used
        return Reply(text, data, str(body.get("model") or self.spec.model), *used, round(seconds, 3)), used

    def _trouble(self, got: Answered) -> Unusable:
        """What a failed exchange means for its call.

        Raises:
            StageError: if it means the same for every other call.
        """
        said = error_text(got)[:500]
        where = f"{self.spec.base_url} answered {got.status}"
        if got.status == 401:
            raise StageError(
                f"{where}: the key in the environment variable {self.spec.key_variable} was not accepted: {said}"
            )
        if got.status == 404:
            raise StageError(f"{where}: there is no model {self.spec.model!r}, or no such address: {said}")
        if got.status == 402 or (got.status == 429 and QUOTA.search(got.text)):
            raise StageError(f"{where}: the account has no credit left: {said}")
        if got.status == 0:
            return Unusable(*got.text.split(": ", 1))
        if got.status == 200:
            return Unusable("broken answer", f"no JSON of a chat completion: {scrub(got.text)[:200]!r}")
        return Unusable("rate limit" if got.status == 429 else f"HTTP {got.status}", said)

    def _learn(self, body: Mapping[str, Any], said: str) -> bool:
        """Whether the server just said that it does not take a field, which is then left out or named otherwise."""
        limits = {"max_tokens", "max_completion_tokens"}
        for name in ("temperature", *limits):
            if (
                name in body
                and name in said
                and NOT_SUPPORTED.search(said)
                and not (name in limits and self.refused & limits)
            ):
                self.refused.add(name)
                return True
        return False

    def _hold(self, got: Answered, sent: float) -> None:
        """Let all workers pause.

        Raises:
            StageError: if the server wants a pause too long to sit through.
        """
        wait = retry_after(got.headers)
        if wait is not None and wait > LONGEST_WAIT:
            raise StageError(
                f"{self.spec.base_url} asks to wait {wait:,.0f} s ({error_text(got)[:200]}): run again later; "
                "what is finished is kept"
            )
        self.limiter.refused(sent, wait)


def choice_of(body: Any) -> dict[str, Any] | None:
    """The first choice of a chat completion; None where the answer is none."""
    try:
        choice = body["choices"][0]
        return choice if isinstance(choice["message"], dict) else None
    except (TypeError, KeyError, IndexError):
        return None


def _count(value: Any, otherwise: int) -> int:
    return value if isinstance(value, int) and value >= 0 else otherwise


def error_text(got: Answered) -> str:
    """The server's own words about an error, as far as they can be found, without keys."""
    error = got.body.get("error", got.body) if isinstance(got.body, dict) else None
    if isinstance(error, dict):
        error = error.get("message") or error.get("detail") or error
    return scrub(" ".join(str(error or got.text).split()))
