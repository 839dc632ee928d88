"""HTTP to an OpenAI-compatible server: requests, and answers as plain values. What they mean is in `endpoint`.

Plain HTTP, by the client inside the `openai` package and not by that package itself: the rate-limit headers are there,
a call costs half the CPU (0.5 against 0.8 to 1.4 ms), and the key is nowhere but in the client's headers, which no
traceback prints.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from ragtune_lib.llm.calls import OPENAI_KEY, OPENAI_URL, OTHER_KEY, Spec, StageError

SECRETS = re.compile(r"\b(sk-|Bearer\s+)[A-Za-z0-9_.*+/=-]{6,}", re.IGNORECASE)
LOOPBACK = {"localhost", "127.0.0.1", "::1"}
LONGEST = 3600.0  # seconds that a reply may take after others were given up


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


class Wire:
    """The way to one server, for many threads.

    Args:
        spec: Where it is.
        workers: Connections that are kept open.
        timeout: Seconds without a byte from the server after which a request is given up. Each time that happens the
            later ones get twice as long, up to `LONGEST`: a small server that writes a long reply is slow, not dead,
            and goes on working at what nobody waits for any more.
    """

    def __init__(self, spec: Spec, workers: int, timeout: float):
        self.spec, self.workers, self.timeout = spec, workers, timeout
        self.given_up = 0  # requests that took longer than that
        self._client: Any = None
        self._lock = threading.Lock()

    def client(self) -> Any:
        """The HTTP client, made at the first request, so that a stage whose replies are all kept needs no key.

        Raises:
            StageError: if OpenAI's key is missing or a key is garbled; names the variable.
        """
        with self._lock:
            if self._client is None:
                import httpx2

                if wrong := _key_trouble(self.spec):
                    raise StageError(wrong)
                self._client = httpx2.Client(
                    headers=_authorization(self.spec),
                    # the proxy of a company is no way to one's own machine
                    trust_env=urlsplit(self.spec.base_url).hostname not in LOOPBACK,
                    limits=httpx2.Limits(max_connections=None, max_keepalive_connections=self.workers),
                )
            return self._client

    def exchange(self, method: str, path: str, body: Any = None, **content: Any) -> Answered:
        """One HTTP exchange. Never raises for a fault of server or line; the answer says what it was.

        Args:
            method: "GET" or "POST".
            path: Below the base URL.
            body: Sent as JSON, unless None.
            content: Parameters, files or form fields, as httpx takes them.

        Raises:
            StageError: as in `client`.
        """
        import httpx2

        client, started, patience = self.client(), time.perf_counter(), self.timeout
        if body is not None:
            # a lone surrogate, which a text from JSON may have, has no UTF-8
            content["content"] = json.dumps(body, ensure_ascii=False).encode("utf-8", "replace")
            content["headers"] = {"content-type": "application/json"}
        try:
            wait = httpx2.Timeout(patience, connect=min(10.0, patience))
            response = client.request(method, self.spec.base_url + path, timeout=wait, **content)
            status, headers, text = response.status_code, response.headers, response.text
        except httpx2.TimeoutException:
            status, headers, text = 0, {}, "timeout"
            with self._lock:
                self.given_up += 1
                self.timeout = max(self.timeout, min(2 * patience, LONGEST))
        except (httpx2.HTTPError, httpx2.InvalidURL, httpx2.StreamError) as error:
            status, headers, text = 0, {}, f"no connection: {type(error).__name__}: {error}"
        text, found = without_keys(text) if status else scrub(text), None
        if status:
            with contextlib.suppress(ValueError, RecursionError):
                found = json.loads(text)
        return Answered(status, headers, found, text, time.perf_counter() - started)


# The key is a local variable in these two alone, and neither raises: a traceback that shows local variables has no key.


def _key_trouble(spec: Spec) -> str:
    """What is wrong with the key in the environment, "" if nothing."""
    key = os.environ.get(spec.key_variable, "").strip()
    if not key and spec.base_url == OPENAI_URL:
        return f"{spec.name} needs a key: set the environment variable {OPENAI_KEY}"
    return "" if key.isascii() and key.isprintable() else f"{spec.key_variable} holds signs that no key has"


def _authorization(spec: Spec) -> dict[str, str]:
    key = os.environ.get(spec.key_variable, "").strip()
    return {"authorization": f"Bearer {key}"} if key else {}


def choice_of(body: Any) -> dict[str, Any] | None:
    """The first choice of a chat completion; None where the answer is none."""
    try:
        choice = body["choices"][0]
        return choice if isinstance(choice["message"], dict) else None
    except (TypeError, KeyError, IndexError):
        return None


def error_text(got: Answered) -> str:
    """The server's own words about an error, as far as they can be found, without keys."""
    error = got.body.get("error", got.body) if isinstance(got.body, dict) else None
    if isinstance(error, dict):
        error = error.get("message") or error.get("detail") or error
    return scrub(" ".join(str(error or got.text).split()))
