"""What is said to a model and what comes back: the words of the seam, without any way of sending them.

A model is named by a spec:

    embedded                                the packaged SmolLM2, run here
    a local folder, or a hub id             run here by transformers
    openai:gpt-4o-mini                      OpenAI; the key is in OPENAI_API_KEY
    http://127.0.0.1:8000/v1:my-model       any OpenAI-compatible server; its key, if it wants one, in RAGTUNE_API_KEY

In the last form the base URL needs a path (`/v1` nearly everywhere). The first colon after the path begins the model,
so the colon of a port is no trouble, and a model may have colons and slashes (`http://host:11434/v1:llama3.2:1b`).
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ragtune_lib.records import Problem

OPENAI_URL = "https://api.openai.com/v1"
OPENAI_KEY, OTHER_KEY = "OPENAI_API_KEY", "RAGTUNE_API_KEY"
FORMS = (
    "`embedded`, a folder, a hub id, `openai:MODEL`, or a base URL and a model like `http://127.0.0.1:8000/v1:MODEL`"
)


class StageError(RuntimeError):
    """A stage cannot go on, and the reader of the message can do something about it. Finished calls are kept."""

    problems: tuple[Problem, ...] = ()  # what is known to be missing


@dataclass(frozen=True, slots=True)
class Spec:
    """A model spec, taken apart."""

    name: str  # as written, without blanks around it
    base_url: str  # "" for a model that runs here
    model: str  # what the endpoint or transformers is asked for
    key_variable: str  # environment variable of the key; "" for a model that runs here

    @property
    def local(self) -> bool:
        """Whether the model runs in this process."""
        return not self.base_url


def parse_spec(spec: str) -> Spec:
    """Take a model spec apart.

    >>> parse_spec("http://127.0.0.1:11434/v1:llama3.2:1b").model
    'llama3.2:1b'

    Raises:
        ValueError: for anything but the forms above, and for a URL that carries a key, a user or a query: specs are
            written into artifacts.
    """
    name = spec.strip()
    if name.startswith("openai:"):
        model = name.removeprefix("openai:")
        if not model:
            raise ValueError(f"{spec!r} names no model; write for example openai:gpt-4o-mini")
        return Spec(name, OPENAI_URL, model, OPENAI_KEY)
    if re.match(r"https?://", name):
        address = re.fullmatch(r"(https?://[^/\s]+(?:/[^:\s]*)+):(\S+)", name)
        if not address:
            raise ValueError("a URL as model spec needs a path and a model, like http://127.0.0.1:8000/v1:MODEL")
        base, model = address[1].rstrip("/"), address[2]
        parts = urlsplit(base)
        if "@" in parts.netloc or parts.query or parts.fragment:
            raise ValueError(f"a model spec is no place for keys, users or queries: put the key into {OTHER_KEY}")
        return Spec(name, base, model, OTHER_KEY)
    if not name or (":" in name and not Path(name).is_dir()):
        raise ValueError(f"{spec!r} is no model spec; known are {FORMS}")
    return Spec(name, "", name, "")


@dataclass(frozen=True, slots=True)
class Call:
    """One question to a model. Calls that are equal but for `item` have one answer."""

    item: str  # what it is about, for the Problem if it fails
    messages: tuple[tuple[str, str], ...]  # (role, text): "system", "user", "assistant"
    max_tokens: int = 1024  # of the reply; a longer one is cut off and counts as failed
    temperature: float = 0.0
    schema: Mapping[str, Any] | None = None  # JSON schema that the reply has to fit, see `replies`
    sample: int = 0  # number of the draw: the same question is asked again for each
    keep_cut: bool = False  # a text that reaches max_tokens is an answer all the same, its length being limited

    @property
    def characters(self) -> int:
        """Length of all that is sent."""
        return sum(len(text) for _, text in self.messages) + (len(json.dumps(self.schema)) if self.schema else 0)


def prompt(text: str, system: str = "") -> tuple[tuple[str, str], ...]:
    """The messages of a single question."""
    return (("system", system), ("user", text)) if system else (("user", text),)


def call_key(identity: str, call: Call) -> str:
    """Content id of all that the answer depends on: 32 hexadecimal digits of SHA-256.

    Args:
        identity: Of the model: for an endpoint its base URL and model, for one that runs here its files.
        call: The question; `item` has no part in it.
    """
    parts = [identity, call.messages, call.max_tokens, call.temperature, call.schema, call.sample]
    parts += ["keep_cut"] if call.keep_cut else []  # so that the keys of all other calls stay as they were
    text = json.dumps(parts, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class Reply:
    """A finished answer, good enough to be kept."""

    text: str
    data: Any  # the parsed JSON where the call had a schema, else None
    model: str  # as the server calls it, which is more exact than the spec
    prompt_tokens: int
    output_tokens: int
    seconds: float  # wall time of the request that gave it, waiting for limits and retries left out


@dataclass(frozen=True, slots=True)
class Unusable:
    """Why there is no answer: a short kind that is counted, and what a person wants to know beyond it."""

    kind: str  # "refused", "cut off", "HTTP 400", ...
    detail: str = ""
    text: str = ""  # what the model said, if it said anything


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one call: a reply, or a problem."""

    call: Call
    reply: Reply | None
    problem: Problem | None
    cached: bool = False
