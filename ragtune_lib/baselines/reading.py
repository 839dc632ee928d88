"""Models of the seam as readers: what fits before a question, and what an answer took.

The systems of `answer` share weights that are in memory. The baselines of the literature are read by any model, so
their answers come through the seam; tokens, seconds and money of every call are counted.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ragtune_lib.llm import Call, Model
from ragtune_lib.llm.calls import Reply, parse_spec
from ragtune_lib.llm.each import Rehearsal, results_of_each
from ragtune_lib.prompt_files import template
from ragtune_lib.records import Answer, Problem
from ragtune_lib.support import is_cut_thought
from ragtune_lib.training_set import without_thought

STAGE = "06_answer"
SLACK = 256  # tokens for the chat form, the lines between texts, and a schema that is spelt out
HEADER = 32  # tokens of the line above a passage


class Pieces:
    """Cuts text by a pattern, called like a tokenizer: for models whose tokenizer is not here, and for characters."""

    def __init__(self, pattern: str):
        self.pattern = re.compile(pattern, re.DOTALL)

    def __call__(self, text: str, **_: object) -> dict[str, list]:
        """The pieces as `input_ids`, and their places as `offset_mapping`."""
        found = list(self.pattern.finditer(text))
        return {"input_ids": [match[0] for match in found], "offset_mapping": [match.span() for match in found]}

    def decode(self, pieces: Sequence[str]) -> str:
        """The text that the pieces were cut from."""
        return "".join(pieces)


CHARACTERS = Pieces(".")
# four ASCII characters are about a token of English; elsewhere a character may be one, so that texts rather fit
ABOUT_TOKENS = Pieces(r"[\x00-\x7f]{1,4}|[^\x00-\x7f]")


@dataclass(frozen=True, slots=True)
class ModelReader:
    """A model of the seam, how much it takes in, and how long it may answer."""

    model: Model | Rehearsal
    tokenizer: Any  # its own, or `ABOUT_TOKENS`
    window: int  # tokens of prompt and reply together
    max_tokens: int  # of an answer; the limit of all systems that are compared

    @property
    def length(self) -> str:
        """The instruction that keeps answers within the limit, the same for every baseline but one."""
        return f"Use at most {max(1, self.max_tokens * 2 // 3)} words."  # a word is at most about 1.5 tokens

    def count(self, text: str) -> int:
        """Tokens of a text."""
        return len(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    def cut(self, text: str, tokens: int) -> str:
        """The first tokens of a text."""
        if len(text) <= tokens:  # a token has a character at least
            return text
        spans = self.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
        return text if len(spans) <= tokens else text[: spans[tokens][0] if tokens > 0 else 0]

    def room(self, prompt: str, questions: Iterable[str], reply: int) -> int:
        """Tokens that are left for what a prompt shows.

        Args:
            prompt: name of the prompt.
            questions: that stand in it; the longest counts.
            reply: tokens of the longest reply.

        Raises:
            ValueError: if nothing is left.
        """
        longest = max(map(self.count, questions), default=0)
        left = self.window - reply - longest - self.count(template(prompt).template) - SLACK
        if left < 2 * HEADER:
            raise ValueError(
                f"{self.model.name}: a window of {self.window} tokens has no room for the prompt {prompt!r} and a "
                f"reply of {reply} tokens"
            )
        return left

    def fit(self, texts: Iterable[str], room: int, extra: int = 1) -> tuple[list[str], int]:
        """The first texts that fit, and the tokens they take; the very first is cut if it must be.

        Args:
            texts: in the order in which they matter.
            room: tokens for all of them.
            extra: tokens that each takes besides its own.
        """
        kept: list[str] = []
        used = 0
        for text in texts:
            shown = text if kept else self.cut(text, room - extra)
            size = self.count(shown) + extra
            if not shown or (kept and used + size > room):
                break
            kept.append(shown)
            used += size
        return kept, used


def open_reader(model: Model, max_tokens: int, window: int, tokenizer: Any = None) -> ModelReader:
    """Make a reader of a model.

    Args:
        model: of the seam.
        max_tokens: of an answer.
        window: tokens that an endpoint takes in. A model that runs here says so itself.
        tokenizer: of a model that runs here, where it is in memory already.
    """
    if not parse_spec(model.name).local:
        return ModelReader(model, ABOUT_TOKENS, window, max_tokens)
    from transformers import AutoConfig

    from ragtune_lib.models import load_tokenizer, model_path

    most = AutoConfig.from_pretrained(model_path(model.name)).max_position_embeddings
    return ModelReader(model, tokenizer or load_tokenizer(model.name), most, max_tokens)


@dataclass(frozen=True, slots=True)
class Spent:
    """What the replies behind one answer took."""

    prompt_tokens: int = 0
    output_tokens: int = 0
    seconds: float = 0.0

    def plus(self, reply: Reply) -> Spent:
        """With one more reply."""
        return Spent(
            self.prompt_tokens + reply.prompt_tokens,
            self.output_tokens + reply.output_tokens,
            self.seconds + reply.seconds,
        )


def make_answer(
    reader: ModelReader, question: str, system: str, text: str, contexts: Sequence[str], spent: Spent
) -> Answer:
    """The record of an answer, with its money by the price table, without discounts for batches or kept prompts.

    Args:
        reader: who gave it.
        question: id of the question.
        system: name of the system.
        text: what was said.
        contexts: ids of what stood before the question.
        spent: on all its calls.
    """
    model = reader.model.model if isinstance(reader.model, Rehearsal) else reader.model
    price = model.meter.price
    cost = price.of(spent.prompt_tokens, spent.output_tokens) if price else math.nan
    tokens = spent.prompt_tokens, spent.output_tokens
    return Answer(question, system, text, tuple(contexts), *tokens, round(spent.seconds, 4), cost)


def item_of(question: str, system: str) -> str:
    """What a call or a Problem about an answer is named after."""
    return f"{question} {system}"


@dataclass(frozen=True, slots=True)
class Turn:
    """A question with what one system shows before it."""

    question: str  # id
    call: Callable[[], Call]  # made when its turn comes
    contexts: tuple[str, ...]  # ids of what it shows
    spent: Spent = Spent()  # on earlier calls about it


def read_all(reader: ModelReader, system: str, turns: Sequence[Turn]) -> tuple[list[Answer], list[Problem]]:
    """One answer or one Problem for each question.

    Args:
        reader: who is asked.
        system: name of the system.
        turns: one for each question. Answers that reach the limit are kept as they are: all systems have that limit.

    Raises:
        StageError: if not one of several calls succeeded, or none can (key, model, quota, server).
    """
    answers, problems = [], []
    stage = f"{STAGE} {system}"
    for turn, result in results_of_each(reader.model, stage, turns, lambda turn: replace(turn.call(), keep_cut=True)):
        if result.problem:
            problems.append(result.problem)
            continue
        text = without_thought(result.reply.text).strip()
        if not text or is_cut_thought(text):
            reason = "the thought was cut off before an answer" if text else "the answer is blank"
            problems.append(Problem(stage, result.call.item, reason, result.reply.text))
            continue
        spent = turn.spent.plus(result.reply)
        answers.append(make_answer(reader, turn.question, system, text, turn.contexts, spent))
    return answers, problems
