"""Asking an OpenAI-compatible server: one call, with its limits, its repetitions and what its faults mean."""

from __future__ import annotations

import json
import math
import random
import re
import threading
import time
from collections.abc import Mapping
from typing import Any

from ragtune_lib.llm.calls import OPENAI_URL, Call, Reply, Spec, StageError, Unusable
from ragtune_lib.llm.cost import CHARACTERS, Meter
from ragtune_lib.llm.limits import Limiter, retry_after
from ragtune_lib.llm.replies import instructed, read_reply, repair, response_format
from ragtune_lib.llm.wire import Answered, Wire, choice_of, error_text, scrub

TRANSIENT = {408, 409, 425, 500, 502, 503, 504, 520, 522, 524, 529}
ATTEMPTS = 8  # at errors of server or line; with the pauses about a minute
REFUSALS = 40  # at 429: the server is alive, so it is worth the wait
EMPTY = 3  # at replies without text
LONGEST_PAUSE = 60.0  # seconds between two attempts
LONGEST_WAIT = 600.0  # seconds; a server that asks for more ends the stage
# of OpenAI's lowest paid tier, per minute, until its first answer says more
OPENAI_START = {"x-ratelimit-limit-requests": "500", "x-ratelimit-limit-tokens": "200000"}
NOT_SUPPORTED = re.compile(
    r"unsupported|not support|unexpected|unrecogni[sz]ed|unknown|not allowed|extra", re.IGNORECASE
)
QUOTA = re.compile(r"insufficient_quota|billing_hard_limit|credit balance|insufficient credits", re.IGNORECASE)


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
        timeout: float = 300.0,
        pause: float = 0.5,
    ):
        self.spec, self.meter, self.pause = spec, meter, pause
        self.limiter = Limiter(requests_per_minute or math.inf, tokens_per_minute or math.inf)
        if spec.base_url == OPENAI_URL:
            self.limiter.told(OPENAI_START)
        self.characters = CHARACTERS  # per token, corrected by what the server counts
        self.refused: set[str] = set()  # fields that the server does not take
        self.enforces = False  # it took a schema and replied by it
        self.instruct = False  # it takes a schema, and replies otherwise
        self.wire = Wire(spec, workers, timeout)

    @property
    def identity(self) -> str:
        """What answers depend on beside the call: one model name means different weights on different servers."""
        return f"{self.spec.base_url}:{self.spec.model}"

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
            found = self._attempts(call, messages, prompt_tokens, counts, stop)
            if isinstance(found, Reply) and found.prompt_tokens > 50:  # in short prompts the chat form counts for more
                self.characters += 0.05 * (min(8.0, sent / found.prompt_tokens) - self.characters)
            return found
        finally:
            self.meter.settle(aside, **counts)

    def _attempts(
        self,
        call: Call,
        messages: tuple[tuple[str, str], ...],
        prompt_tokens: float,
        counts: dict[str, int],
        stop: threading.Event,
    ) -> Reply | Unusable:
        """Ask until there is an answer that no repetition would change; `counts` is counted up on the way."""
        errors = refusals = empty = 0
        without: frozenset[str] = frozenset()
        reserved = prompt_tokens + call.max_tokens
        while self.limiter.acquire(reserved, stop):
            body, sent = self.body(call, messages, without), time.monotonic()
            counts["requests"] += 1
            got = self.wire.exchange("POST", "/chat/completions", body)
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


def _count(value: Any, otherwise: int) -> int:
    return value if isinstance(value, int) and value >= 0 else otherwise
