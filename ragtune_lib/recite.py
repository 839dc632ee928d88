"""Answering from memory: recall several things, then keep the one that the question fits best.

A small model that learnt a corpus by heart seldom says a wrong sentence wrongly; it says another sentence rightly,
because its first words already decide which one it will be. So it is made to start in several ways, and the finished
recitals are compared. All text comes from the weights; no document is read.

Sources: recitation before an answer, arXiv 2210.01296; the noisy channel, P(question | recital) beside
P(recital | question), arXiv 2108.04106.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ragtune_lib.generate import batches_by_length, generate_ids, stop_ids
from ragtune_lib.models import chat_prompt, progress
from ragtune_lib.support import abstains
from ragtune_lib.training_set import without_cues

FITS = "A note: {recital}\nA question that this note answers:"
OPENINGS = 4  # times as many recitals are begun as are finished
OPENING_TOKENS = 12  # as long as three cues take
TRUST = 0.2  # weight of P(recital | question) beside P(question | recital)
# The three were chosen on 62 questions about the sample journal that were written for it and are not its held-out ones.
METHOD = (FITS, OPENINGS, OPENING_TOKENS, TRUST)  # part of the key of a kept answer


@dataclass(frozen=True, slots=True)
class Recital:
    """One thing that the model recalled for a question."""

    text: str  # without its cues
    confidence: float  # log P(recital | question) of the tuned model
    fit: float  # log P(question | recital) of the untuned model

    @property
    def score(self) -> float:
        """What recitals are compared by."""
        return self.fit + TRUST * self.confidence


def answer_by_reciting(
    tuned: Any,
    base: Any,
    tokenizer: Any,
    questions: Sequence[str],
    count: int,
    max_new_tokens: int,
    done: Callable[[list[int], list[str], list[int]], None] | None = None,
    together: int = 16,
) -> list[str]:
    """Answer each question by the best of `count` recitals.

    A model whose likeliest answer is that the documents do not say keeps that answer; otherwise recitals that say so
    are no candidates.

    Args:
        tuned: the model that has learnt the corpus.
        base: the untuned model, which judges how well a question fits a recital.
        tokenizer: of both.
        questions: to be answered.
        count: recitals finished per question; 1 is greedy decoding.
        max_new_tokens: longest recital.
        done: called after each group with positions, texts and the tokens generated for each.
        together: questions per group.

    Returns:
        One text per question.
    """
    texts = [""] * len(questions)
    bar = progress(len(questions), "recite")
    for start in range(0, len(questions), together):
        group = list(range(start, min(start + together, len(questions))))
        asked = [questions[at] for at in group]
        recalled, costs = recitals(tuned, base, tokenizer, asked, count, max_new_tokens)
        for at, found in zip(group, recalled, strict=True):
            texts[at] = choose(found)
        if done:
            done(group, [texts[at] for at in group], costs)
        bar.update(len(group))
    bar.close()
    return texts


def choose(found: Sequence[Recital]) -> str:
    """The best recital of a question, likeliest first token first in `found`."""
    if abstains(found[0].text):
        return found[0].text
    candidates = [recital for recital in found if recital.text and not abstains(recital.text)] or found[:1]
    return max(candidates, key=lambda recital: recital.score).text


def recitals(
    tuned: Any, base: Any, tokenizer: Any, questions: Sequence[str], count: int, max_new_tokens: int
) -> tuple[list[list[Recital]], list[int]]:
    """What the tuned model recalls for each question, begun in several ways.

    `OPENINGS` times as many are begun as are finished: each with another first token, for as long as the cues take.
    The greedy one and those that the model believes most are finished.

    Returns:
        Recitals per question, at most `count`, the greedy one first; and the tokens generated per question.
    """
    prompts = [tokenizer(chat_prompt(tokenizer, text), add_special_tokens=False)["input_ids"] for text in questions]
    begun = [
        (at, [*prompt, token])
        for at, (prompt, tokens) in enumerate(
            zip(prompts, first_tokens(tuned, tokenizer, prompts, 1 if count == 1 else OPENINGS * count), strict=True)
        )
        for token in tokens
    ]
    opening = min(OPENING_TOKENS, max_new_tokens)
    more = generate_ids(tuned, tokenizer, [ids for _, ids in begun], opening - 1)
    said = [[*ids[len(prompts[at]) :], *rest] for (at, ids), rest in zip(begun, more, strict=True)]
    costs = [0] * len(questions)
    for (at, _), ids in zip(begun, said, strict=True):
        costs[at] += len(ids)
    belief = log_likelihood(tuned, tokenizer, [(prompts[at], ids) for (at, _), ids in zip(begun, said, strict=True)])
    kept = _most_believed([at for at, _ in begun], belief, count)
    owners, heads = [begun[place][0] for place in kept], [said[place] for place in kept]
    asked = [[*prompts[at], *ids] if len(ids) == opening else [] for at, ids in zip(owners, heads, strict=True)]
    going = [place for place, ids in enumerate(asked) if ids]
    tails = generate_ids(tuned, tokenizer, [asked[place] for place in going], max_new_tokens - opening)
    for place, tail in zip(going, tails, strict=True):
        heads[place] = [*heads[place], *tail]
        costs[owners[place]] += len(tail)
    return _compared(tuned, base, tokenizer, questions, prompts, owners, heads), costs


def _most_believed(owners: Sequence[int], belief: Sequence[float], count: int) -> list[int]:
    """Places of each owner's first opening and of its likeliest others, `count` in all, in order."""
    kept = []
    for owner in sorted(set(owners)):
        first, *others = [place for place, own in enumerate(owners) if own == owner]
        kept += sorted([first, *sorted(others, key=lambda place: -belief[place])[: count - 1]])
    return kept


def _compared(
    tuned: Any,
    base: Any,
    tokenizer: Any,
    questions: Sequence[str],
    prompts: Sequence[Sequence[int]],
    owners: Sequence[int],
    said: Sequence[Sequence[int]],
) -> list[list[Recital]]:
    """Recitals per question, with how sure the tuned model is and how well the question fits each."""
    confidence = log_likelihood(tuned, tokenizer, [(prompts[at], ids) for at, ids in zip(owners, said, strict=True)])
    texts = [without_cues(tokenizer.decode(ids, skip_special_tokens=True).strip()) for ids in said]
    contexts = [tokenizer(FITS.format(recital=text), add_special_tokens=False)["input_ids"] for text in texts]
    asked = [tokenizer(f" {text}", add_special_tokens=False)["input_ids"] for text in questions]
    fit = log_likelihood(base, tokenizer, [(ids, asked[at]) for at, ids in zip(owners, contexts, strict=True)])
    found: list[list[Recital]] = [[] for _ in questions]
    for at, text, sure, fits in zip(owners, texts, confidence, fit, strict=True):
        found[at].append(Recital(text, sure, fits))
    return found


def first_tokens(model: Any, tokenizer: Any, prompts: Sequence[Sequence[int]], count: int) -> list[list[int]]:
    """The `count` likeliest first tokens of an answer to each prompt, likeliest first; end tokens left out."""
    import torch

    ends = stop_ids(tokenizer)
    batch = tokenizer.pad({"input_ids": [list(ids) for ids in prompts]}, return_tensors="pt").to(model.device)
    with torch.inference_mode():
        logits = model(**batch, logits_to_keep=1).logits[:, -1].float()
        logits[:, ends] = -torch.inf
    return logits.topk(count).indices.tolist()


def log_likelihood(
    model: Any, tokenizer: Any, pairs: Sequence[tuple[Sequence[int], Sequence[int]]], batch_tokens: int = 2_000
) -> list[float]:
    """Natural log of P(text | context), summed over the tokens of the text.

    Args:
        model: a causal language model.
        tokenizer: its tokenizer, for padding.
        pairs: token ids of context and text; a context is not empty.
        batch_tokens: padded tokens per batch; bounds the memory.
    """
    import torch

    values = [0.0] * len(pairs)
    lengths = [len(context) + len(text) for context, text in pairs]
    for group in batches_by_length(lengths, batch_tokens):
        batch = tokenizer.pad({"input_ids": [[*pairs[at][0], *pairs[at][1]] for at in group]}, return_tensors="pt")
        batch = batch.to(model.device)
        keep = max(len(pairs[at][1]) for at in group) + 1  # padding is on the left: texts end together
        with torch.inference_mode():
            logits = model(**batch, logits_to_keep=keep).logits[:, :-1].float()
        wanted = batch["input_ids"][:, -keep + 1 :]
        chances = (logits.gather(-1, wanted[..., None])[..., 0] - logits.logsumexp(-1)).tolist()
        for at, row in zip(group, chances, strict=True):
            values[at] = sum(row[len(row) - len(pairs[at][1]) :])
    return values
