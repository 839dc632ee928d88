"""Trainee-aware selection: train on what the student does not know yet.

How well the untrained student knows a pair is its loss on what it would be taught: the mean negative log likelihood of
the tokens of the target after the question, in nats per token. A low loss means that it is known or can be guessed, and
that training on it would teach nothing. A high loss means new, or wrong: select after the checks, not instead of them.

    selection = select_pairs(pairs, partial(student_loss, "embedded", "evidence"), share=0.7)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from ragtune_lib.likelihood import log_likelihood
from ragtune_lib.models import load_model, load_tokenizer, progress
from ragtune_lib.records import QAPair
from ragtune_lib.training_set import Form, make_examples, tokenize

TOGETHER = 256  # pairs that are measured between two steps of the progress bar
ALWAYS = ("absent",)  # pairs that teach a behaviour and not a fact: their loss says nothing about what is known


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A pair that is not spent on, and why."""

    pair_id: str
    loss: float
    reason: str


@dataclass(frozen=True, slots=True)
class Selection:
    """Pairs in = kept + left out."""

    kept: tuple[QAPair, ...]  # the least known first
    left_out: tuple[LeftOut, ...]  # likewise
    losses: dict[str, float]  # by pair id; nan where it could not be measured
    unmeasured: int  # kept, since nothing says that they are known

    def __str__(self) -> str:
        return f"{len(self.kept):,} kept ({self.unmeasured:,} not measured), {len(self.left_out):,} left out"


def select_pairs(
    pairs: Sequence[QAPair],
    loss: Callable[[Sequence[QAPair]], Sequence[float]],
    known_below: float = 0.0,
    share: float = 1.0,
    always: Collection[str] = ALWAYS,
) -> Selection:
    """Order pairs by what the student does not know, and leave the known ones out.

    Args:
        pairs: what could be trained on, ids distinct.
        loss: mean negative log likelihood of each pair's answer under the untrained student, in nats per token.
        known_below: an answer with a loss below this counts as known; 0 leaves none out.
        share: of the pairs, the most that are kept, in (0, 1]; the least known come first. `always` and what could not
            be measured count towards it but are never left out.
        always: kinds that are kept whatever their loss.

    Returns:
        The selection; equal losses are ordered by id, so the order of `pairs` has no part in it.

    Raises:
        ValueError: for a share outside (0, 1], a pair that occurs twice, or another number of losses than pairs.
    """
    if not 0 < share <= 1:
        raise ValueError(f"share={share} is not in (0, 1]")
    if len({pair.id for pair in pairs}) < len(pairs):
        raise ValueError("a pair occurs twice")
    values = [float(value) for value in loss(pairs)] if pairs else []
    if len(values) != len(pairs):
        raise ValueError(f"{len(values)} losses for {len(pairs)} pairs")
    losses = {pair.id: value if math.isfinite(value) else math.nan for pair, value in zip(pairs, values, strict=True)}

    def rank(pair: QAPair) -> tuple[bool, float, str]:
        value = losses[pair.id]
        return (math.isnan(value), 0.0 if math.isnan(value) else -value, pair.id)

    ordered = sorted(pairs, key=rank)
    safe = {pair.id for pair in pairs if pair.kind in always or math.isnan(losses[pair.id])}
    room = max(0, math.floor(share * len(pairs) + 1e-9) - len(safe))
    kept, left_out = [], []
    for pair in ordered:
        value = losses[pair.id]
        if pair.id in safe:
            kept.append(pair)
        elif value < known_below:
            left_out.append(LeftOut(pair.id, value, f"known: a loss below {known_below:g}"))
        elif not room:
            left_out.append(LeftOut(pair.id, value, f"beyond the {share:.0%} that are least known"))
        else:
            room -= 1
            kept.append(pair)
    unmeasured = sum(math.isnan(value) for value in losses.values())
    return Selection(tuple(kept), tuple(left_out), losses, unmeasured)


def student_loss(student: str, form: Form, pairs: Sequence[QAPair]) -> list[float]:
    """Loss of the untrained student on each pair, as its training would begin with: the target and its end token.

    The student is loaded, and gone again at the end.

    Args:
        student: model spec.
        form: how thought and answer are joined, see `training_set.target_text`.
        pairs: what could be trained on.

    Returns:
        Nats per token, in the order of the pairs.
    """
    model, tokenizer = load_model(student), load_tokenizer(student)
    losses: list[float] = []
    bar = progress(len(pairs), "measure")
    examples = make_examples(pairs, form, 0)
    for start in range(0, len(pairs), TOGETHER):
        rows = [tokenize(one, tokenizer) for one in examples[start : start + TOGETHER]]
        read = [row["labels"].count(-100) for row in rows]
        split = [(row["input_ids"][:at], row["input_ids"][at:]) for row, at in zip(rows, read, strict=True)]
        chances = log_likelihood(model, tokenizer, split)
        losses += [-chance / len(target) for chance, (_, target) in zip(chances, split, strict=True)]
        bar.update(len(rows))
    bar.close()
    return losses
