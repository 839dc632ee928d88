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

from ragtune_lib.generate import Decoder, batches_by_length, stop_ids
from ragtune_lib.models import chat_prompt, progress
from ragtune_lib.support import abstains
from ragtune_lib.training_set import without_cues, without_thought

FITS = "A note: {recital}\nA question that this note answers:"
# chosen, as the number of passes in training, on questions about the sample journal that are not its held-out ones:
# see tests/benchmarks/recall.py
OPENINGS = 2  # times as many recitals are begun as are finished
OPENING_TOKENS = 12  # as long as three cues take
TRUST = 0.2  # weight of P(recital | question) beside P(question | recital)
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
    ends = set(stop_ids(tokenizer))
    decoder = Decoder(tuned, tokenizer, prompts)
    firsts = first_tokens(decoder.logits, ends, 1 if count == 1 else OPENINGS * count)
    owners = [at for at, row in enumerate(firsts) for _ in row]
    said = [[token] for row in firsts for token, _ in row]
    belief = [chance for row in firsts for _, chance in row]
    going = _go_on(decoder, owners, said, belief, ends, min(OPENING_TOKENS, max_new_tokens) - 1)
    costs = [0] * len(questions)
    for owner, ids in zip(owners, said, strict=True):
        costs[owner] += len(ids)
    kept = _most_believed(owners, belief, count)
    opened = {place: len(said[place]) for place in kept}
    unfinished = [at for at, place in enumerate(going) if place in opened]
    if unfinished and max_new_tokens > OPENING_TOKENS:
        places = [going[at] for at in unfinished]
        tails, sure = [said[place] for place in places], [belief[place] for place in places]
        _go_on(decoder, unfinished, tails, sure, ends, max_new_tokens - OPENING_TOKENS)
        for place, chance in zip(places, sure, strict=True):
            belief[place] = chance
    for place in kept:
        costs[owners[place]] += len(said[place]) - opened[place]
    chosen = [(owners[place], said[place], belief[place]) for place in kept]
    return _compared(base, tokenizer, questions, chosen), costs


def _go_on(
    decoder: Decoder, rows: Sequence[int], said: list[list[int]], belief: list[float], ends: set[int], most: int
) -> list[int]:
    """Continue texts greedily from the decoder's rows; adds to what is said and believed, in place.

    Args:
        decoder: its rows do not hold the last token of the texts yet.
        rows: the decoder's row that each text continues; one row may serve several.
        said: token ids of each text so far.
        belief: log probability of each text so far.
        ends: token ids that end a text.
        most: tokens to add.

    Returns:
        Places of the texts that have not ended: the decoder's rows are theirs now.
    """
    decoder.select(rows)
    if most < 1:
        return list(range(len(said)))
    decoder.append([ids[-1] for ids in said])
    more, chances, going = decoder.extend(most, ends, weigh=True)
    for place, (ids, chance) in enumerate(zip(more, chances, strict=True)):
        said[place] += ids
        belief[place] += chance
    return going


def _most_believed(owners: Sequence[int], belief: Sequence[float], count: int) -> list[int]:
    """Places of each owner's first opening and of its likeliest others, `count` in all, in order."""
    kept = []
    for owner in sorted(set(owners)):
        first, *others = [place for place, own in enumerate(owners) if own == owner]
        kept += sorted([first, *sorted(others, key=lambda place: -belief[place])[: count - 1]])
    return kept


def _compared(
    base: Any, tokenizer: Any, questions: Sequence[str], said: Sequence[tuple[int, Sequence[int], float]]
) -> list[list[Recital]]:
    """Recitals per question; `said` has the question's position, token ids and log probability of each."""
    whole = [tokenizer.decode(ids, skip_special_tokens=True).strip() for _, ids, _ in said]
    texts = [without_thought(without_cues(text)) for text in whole]
    contexts = [tokenizer(FITS.format(recital=text), add_special_tokens=False)["input_ids"] for text in texts]
    asked = [tokenizer(f" {text}", add_special_tokens=False)["input_ids"] for text in questions]
    fits = log_likelihood(base, tokenizer, [(ids, asked[at]) for (at, *_), ids in zip(said, contexts, strict=True)])
    found: list[list[Recital]] = [[] for _ in questions]
    for (at, _, sure), text, fit in zip(said, texts, fits, strict=True):
        found[at].append(Recital(text, sure, fit))
    return found


def first_tokens(logits: Any, ends: set[int], count: int) -> list[list[tuple[int, float]]]:
    """The `count` likeliest tokens of each row but for end tokens, likeliest first, with their log probability."""
    chances = logits.float().log_softmax(-1)
    chances[:, sorted(ends)] = float("-inf")
    best, tokens = chances.topk(count)
    return [list(zip(row, values, strict=True)) for row, values in zip(tokens.tolist(), best.tolist(), strict=True)]


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
