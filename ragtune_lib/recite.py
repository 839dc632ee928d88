"""Answering from memory: recall several things, then keep the best one, or the best ones.

A small model that learnt a corpus by heart seldom says a wrong sentence wrongly; it says another sentence rightly,
because its first words already decide which one it will be. So it is made to start in several ways, and the finished
recitals are compared. Whether one of them answers the question or several do in part, the model says itself, by the
mark that it has learnt to begin with. All text comes from the weights; no document is read.

Sources: recitation before an answer, arXiv 2210.01296; the noisy channel, P(question | recital) beside
P(recital | question), arXiv 2108.04106.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ragtune_lib.generate import Decoder, stop_ids
from ragtune_lib.likelihood import log_likelihood
from ragtune_lib.models import chat_prompt, progress
from ragtune_lib.support import abstains, is_cut_thought
from ragtune_lib.text import normalize
from ragtune_lib.training_set import ONE, SEVERAL, without_cues, without_thought

FITS = "A note: {recital}\nA question that this note answers:"
# chosen, as the number of passes in training, on questions about the sample journal that are not its held-out ones:
# see tests/benchmarks/recall.py
OPENINGS = 2  # times as many recitals are begun as are finished
OPENING_TOKENS = 12  # as long as three cues take
GAP = 7.0  # nats: an opening this much less likely than the likeliest one of its question is given up
TRUST = 1.0  # weight of P(recital | question) beside P(question | recital)
WIDE = 0.1  # from this P(SEVERAL) on, of the two marks, several are told: few of the training questions are wide
METHOD = (FITS, OPENINGS, OPENING_TOKENS, GAP, TRUST, WIDE, ONE, SEVERAL)  # part of the key of a kept answer


@dataclass(frozen=True, slots=True)
class Recital:
    """One thing that the model recalled for a question."""

    text: str  # without its cues
    confidence: float  # log P(recital | question) of the tuned model
    fit: float  # log P(question | recital) of the untuned model; 0 where there is no other recital to compare with
    tokens: int  # of the text

    @property
    def score(self) -> float:
        """What recitals are compared by."""
        return self.fit + TRUST * self.confidence


@dataclass(frozen=True, slots=True)
class Recalled:
    """All that the model recalled for a question."""

    recitals: list[Recital]  # the greedy one first
    several: bool  # whether the model means to answer by several of them
    cost: int  # tokens generated


def answer_by_reciting(
    tuned: Any,
    base: Any,
    tokenizer: Any,
    questions: Sequence[str],
    count: int,
    max_new_tokens: int,
    done: Callable[[list[int], list[str], list[int]], None] | None = None,
    together: int = 16,
    marks: bool = True,
) -> list[str]:
    """Answer each question by the best of `count` recitals, or by its best ones where the model means several.

    A model whose likeliest answer is that the documents do not say keeps that answer; otherwise recitals that say so
    are no candidates.

    Args:
        tuned: the model that has learnt the corpus.
        base: the untuned model, which judges how well a question fits a recital.
        tokenizer: of both.
        questions: to be answered.
        count: most recitals finished per question; 1 is greedy decoding.
        max_new_tokens: longest recital, and longest answer.
        done: called after each group with positions, texts and the tokens generated for each.
        together: questions per group.
        marks: whether the tuned model has learnt to begin with a mark, as all do whose pairs have cues.

    Returns:
        One text per question.
    """
    texts = [""] * len(questions)
    bar = progress(len(questions), "recite")
    for start in range(0, len(questions), together):
        group = list(range(start, min(start + together, len(questions))))
        asked = [questions[at] for at in group]
        found = recall(tuned, base, tokenizer, asked, count, max_new_tokens, marks)
        for at, recalled in zip(group, found, strict=True):
            texts[at] = tell(recalled, max_new_tokens)
        if done:
            done(group, [texts[at] for at in group], [recalled.cost for recalled in found])
        bar.update(len(group))
    bar.close()
    return texts


def tell(recalled: Recalled, max_tokens: int) -> str:
    """The answer: the best recital, or as many as fit into `max_tokens` together, best first."""
    greedy = recalled.recitals[0]
    if abstains(greedy.text):
        return greedy.text
    told = [recital for recital in recalled.recitals if _says_something(recital.text)] or [greedy]
    best, *others = sorted(told, key=lambda recital: -recital.score)
    if not recalled.several:
        return best.text
    texts, room = [best.text], max_tokens - best.tokens
    for recital in others:
        if recital.tokens <= room and not any(_same(recital.text, text) for text in texts):
            texts.append(recital.text)
            room -= recital.tokens
    return " ".join(texts)


def _says_something(text: str) -> bool:
    return bool(text) and not abstains(text) and not is_cut_thought(text)


def _same(a: str, b: str) -> bool:
    """Whether one of two texts holds the other."""
    a, b = normalize(a), normalize(b)
    return a in b or b in a


def recall(
    tuned: Any,
    base: Any,
    tokenizer: Any,
    questions: Sequence[str],
    count: int,
    max_new_tokens: int,
    marks: bool = True,
) -> list[Recalled]:
    """What the tuned model recalls for each question, begun in several ways.

    Where `marks` are learnt and its likeliest beginning is one of the two, the recitals begin after a mark: `SEVERAL`
    if it has at least the share `WIDE` of their probability, else `ONE`. `OPENINGS` times as many are begun as may be
    finished: each with another first token, for as long as the cues take. Finished are the greedy one and those that
    the model believes most, at most `count` per question and none that is `GAP` less likely than the likeliest.
    """
    prompts = [_ids(tokenizer, chat_prompt(tokenizer, text)) for text in questions]
    ends = set(stop_ids(tokenizer))
    decoder = Decoder(tuned, tokenizer, prompts)
    one, many = (_ids(tokenizer, mark)[-1] for mark in (ONE, SEVERAL))
    marked = [marks and token in (one, many) for token in decoder.logits.argmax(-1).tolist()]
    wide = (decoder.logits[:, [one, many]].float().softmax(-1)[:, 1] >= WIDE).tolist()
    several = [mark and told for mark, told in zip(marked, wide, strict=True)]
    if any(marked):
        begun = [[many if told else one] if mark else [] for mark, told in zip(marked, several, strict=True)]
        decoder = Decoder(tuned, tokenizer, [[*ids, *first] for ids, first in zip(prompts, begun, strict=True)])
    firsts = first_tokens(decoder.logits, ends, 1 if count == 1 else OPENINGS * count)
    owners = [at for at, row in enumerate(firsts) for _ in row]
    said = [[token] for row in firsts for token, _ in row]
    belief = [chance for row in firsts for _, chance in row]
    going = _go_on(decoder, owners, said, belief, ends, min(OPENING_TOKENS, max_new_tokens) - 1)
    costs = [int(mark) for mark in marked]
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
    found = _compared(base, tokenizer, questions, chosen, marked)
    return [Recalled(*each) for each in zip(found, several, costs, strict=True)]


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
    """Places of each owner's first opening and of its likeliest others, at most `count` in all, in order."""
    kept = []
    for owner in sorted(set(owners)):
        first, *others = [place for place, own in enumerate(owners) if own == owner]
        least = max(belief[place] for place in (first, *others)) - GAP
        others = [place for place in sorted(others, key=lambda place: -belief[place]) if belief[place] > least]
        kept += sorted([first, *others[: count - 1]])
    return kept


def _compared(
    base: Any,
    tokenizer: Any,
    questions: Sequence[str],
    said: Sequence[tuple[int, Sequence[int], float]],
    marked: Sequence[bool],
) -> list[list[Recital]]:
    """Recitals per question.

    Args:
        base: the untuned model.
        tokenizer: its tokenizer.
        questions: in order.
        said: the question's position, token ids and log probability of each recital.
        marked: for each question, whether its recitals stand after a mark.
    """
    whole = [tokenizer.decode(ids, skip_special_tokens=True).strip() for _, ids, _ in said]
    whole = [f"{ONE} {text}" if marked[at] else text for (at, *_), text in zip(said, whole, strict=True)]
    texts = [without_thought(without_cues(text)) for text in whole]
    rivals = Counter(at for at, *_ in said)
    contested = [place for place, (at, *_) in enumerate(said) if rivals[at] > 1]
    contexts = [FITS.format(recital=texts[place]) for place in contested]
    pairs = [
        (_ids(tokenizer, context), _ids(tokenizer, f" {questions[said[place][0]]}"))
        for place, context in zip(contested, contexts, strict=True)
    ]
    fits = dict(zip(contested, log_likelihood(base, tokenizer, pairs), strict=True))
    found: list[list[Recital]] = [[] for _ in questions]
    for place, ((at, _, sure), text) in enumerate(zip(said, texts, strict=True)):
        found[at].append(Recital(text, sure, fits.get(place, 0.0), len(_ids(tokenizer, text))))
    return found


def _ids(tokenizer: Any, text: str) -> list[int]:
    return tokenizer(text, add_special_tokens=False)["input_ids"]


def first_tokens(logits: Any, ends: set[int], count: int) -> list[list[tuple[int, float]]]:
    """The `count` likeliest tokens of each row but for end tokens, likeliest first, with their log probability."""
    chances = logits.float().log_softmax(-1)
    chances[:, sorted(ends)] = float("-inf")
    best, tokens = chances.topk(count)
    return [list(zip(row, values, strict=True)) for row, values in zip(tokens.tolist(), best.tolist(), strict=True)]
