"""A model that runs in this process, behind the same seam as an endpoint: the embedded one, a folder, a hub id."""

from __future__ import annotations

import json
import threading
from collections import defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ragtune_lib.generate import generate
from ragtune_lib.llm.calls import Call, Reply, Unusable
from ragtune_lib.llm.cost import Meter
from ragtune_lib.llm.replies import instructed, read_reply, repair
from ragtune_lib.models import GGUF_PACKAGE, load_model, load_tokenizer, package_file


class LocalModel:
    """Answers many calls at once, in batches of like length.

    Args:
        spec: "embedded", a local folder or a hub id.
        meter: Counts the tokens; the money is nothing.
        loaded: Its weights and tokenizer, where they are in memory already; else they are loaded when needed.
    """

    def __init__(self, spec: str, meter: Meter, loaded: tuple[Any, Any] | None = None):
        self.spec, self.meter = spec, meter
        self._loaded = loaded
        self._identity = ""
        self._lock = threading.Lock()  # two stages at once would wait for each other anyway

    @property
    def identity(self) -> str:
        """What answers depend on beside the call: for a folder its files, since a model may be trained again in place.

        Sizes and times stand for the contents: a copied folder is asked again, a changed one is never taken for the
        old one. A hub id stands for itself.
        """
        if not self._identity:
            folder = Path(self.spec)
            if self.spec == "embedded":
                weights = package_file(GGUF_PACKAGE, "*.gguf")
                state: list = [weights.name, weights.stat().st_size]
            else:
                files = sorted(folder.iterdir()) if folder.is_dir() else []
                state = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in files if path.is_file()]
            self._identity = f"{self.spec} {json.dumps(state)}"
        return self._identity

    def complete_many(self, calls: Mapping[str, Call], done: Callable[[str, Reply | Unusable], None]) -> None:
        """Answer calls; an unreadable reply to a call with a schema is asked again once.

        Args:
            calls: By key.
            done: Called with key and outcome as soon as the batch of a call is finished.
        """
        with self._lock:
            first = {key: instructed(call) if call.schema else call.messages for key, call in calls.items()}
            again: dict[str, tuple[tuple[str, str], ...]] = {}

            def judge(key: str, found: Reply | Unusable) -> None:
                if isinstance(found, Unusable) and found.kind == "unreadable":
                    again[key] = repair(calls[key], found)
                else:
                    done(key, found)

            self._round(calls, first, judge)
            self._round(calls, again, done)

    def _round(self, calls: Mapping[str, Call], messages: Mapping[str, Any], done: Callable) -> None:
        """One reply to each of `messages`, by groups that share their settings."""
        groups: dict[tuple, list[str]] = defaultdict(list)
        for key in messages:
            call = calls[key]
            groups[call.max_tokens, call.temperature, call.sample].append(key)
        for (max_tokens, temperature, sample), keys in groups.items():
            model, tokenizer = self._load()
            prompts = [_chat(tokenizer, messages[key]) for key in keys]

            def finished(
                places: list[int], texts: list[str], counts: list[int], seconds: float,
                keys: list[str] = keys, prompts: list[str] = prompts, tokenizer: Any = tokenizer,
            ) -> None:  # fmt: skip
                for place, text, count in zip(places, texts, counts, strict=True):
                    call = calls[keys[place]]
                    read = len(tokenizer(prompts[place], add_special_tokens=False)["input_ids"])
                    self.meter.settle(0.0, 1, read, count)
                    data, unusable = read_reply(call, text, "length" if count >= call.max_tokens else "stop")
                    share = seconds / len(places)
                    done(keys[place], unusable or Reply(text, data, self.spec, read, count, round(share, 3)))

            generate(
                model, tokenizer, prompts, max_tokens, temperature, seed=17 + sample, label="replies", done=finished
            )

    def _load(self) -> tuple[Any, Any]:
        if self._loaded is None:
            self._loaded = load_model(self.spec), load_tokenizer(self.spec)
        return self._loaded


def _chat(tokenizer: Any, messages: tuple[tuple[str, str], ...]) -> str:
    """The prompt in the model's own chat form; without a system message an empty one, see `models.chat_prompt`."""
    turns = [{"role": role, "content": text} for role, text in messages]
    if turns[0]["role"] != "system":
        turns.insert(0, {"role": "system", "content": ""})
    text = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    return text.removeprefix("<|im_start|>system\n<|im_end|>\n")
