"""Mechanical checks of synthetic pairs: support in the source, near-duplicates, leakage of held-out questions.

Nothing here asks a generative model. Each finding is a `Flag`; one that blocks keeps the pair out of training unless
a person decides otherwise. What a model found before (`teacher.quality`) may be handed in, and stands beside it.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from ragtune_lib.records import REASONED, Chunk, Flag, QAPair, Question
from ragtune_lib.text import MONTHS, contains, content_words, names, normalize, numbers, sentences

if TYPE_CHECKING:
    import numpy as np

Embed = Callable[[Sequence[str]], "np.ndarray"]
CHECKS = (  # the order of flags per pair
    "faithful", "relevant", "worth", "quote", "number", "name", "length", "echo", "leak", "duplicate", "conflict",
)  # fmt: skip
SHORTEST, LONGEST = 3, 40  # words of a question
NGRAM = 4  # words
BLOCK = 4096  # rows of questions compared with all held-out questions at a time

_DAY = rf"(?:\d{{4}}-\d{{2}}-\d{{2}}|(?:\d{{1,2}} )?(?:{'|'.join(MONTHS)})(?:,? \d{{4}})?|\d{{4}})"
# what is no quotation in a recall: "On 6 January 2025: " before a sentence, " (6 January 2025) " after it
_LEAD = rf"(?<!\w)(?:(?:On|In|By|From|During|Between) )?{_DAY}(?: (?:to|and|until) {_DAY})?:\s+"
RECALL = re.compile(rf"{_LEAD}|\s*\({_DAY}\)\s*")
ORDINAL = re.compile(r"(?m)^\s*\d{1,2}[.)]\s+")  # "2. " before an item of a list is no number that anybody claims
QUOTED = re.compile(r'"([^"]+)"|\u201c([^\u201d]+)\u201d')


def check_pairs(
    pairs: Sequence[QAPair],
    chunks: Sequence[Chunk],
    questions: Sequence[Question],
    embed: Embed,
    duplicate_similarity: float = 0.97,
    leak_similarity: float = 0.9,
    leak_ngram: float = 0.6,
    earlier: Sequence[Flag] = (),
) -> list[Flag]:
    """Run every check on every pair.

    | check | finds | blocks |
    |---|---|---|
    | quote | a sentence of the reasoning, or a quotation in the answer, that is not verbatim in the evidence | yes |
    | number | a number in reasoning or answer that is neither in the evidence nor in its dates | yes |
    | name | a name that is neither in the evidence, nor in the question, nor a month of its dates | yes |
    | length | a question of less than 3 or more than 40 words, an empty answer | yes |
    | echo | an answer that only repeats words of its question | no |
    | leak | a question too close to a held-out question | yes |
    | duplicate | a second question for the same fact in (nearly) the same words, or an equal pair | the later |
    | conflict | equal questions with different answers about different facts | the later, when local |

    Duplicates and conflicts are sought among the pairs that no other check blocks, so a faulty pair never drives
    out a sound one. Of a local conflict the first pair stays: two answers to one question teach noise, one answer
    is still true. A global question may have several right answers, so there it is only a remark.

    Reasoning in its writer's own words (kinds of `records.REASONED`) need not be verbatim: of it, as of answers, only
    what stands between quotation marks is a quotation.

    Args:
        pairs: what was synthesized; earlier pairs win over later duplicates.
        chunks: all chunks that the pairs' evidence ids may name.
        questions: the held-out questions.
        embed: maps n texts to a float array of shape (n, d) with rows of length 1.
        duplicate_similarity: cosine in [-1, 1] from which two questions for the same fact are one.
        leak_similarity: cosine in [-1, 1] from which a question leaks a held-out one.
        leak_ngram: share in (0, 1] of a held-out question's word 4-grams from which a question leaks it.
        earlier: flags of these pairs from elsewhere, with checks of `CHECKS`; they block like the others, and are
            returned with them. Those about other pairs are left out.

    Returns:
        Flags in the order of the pairs, at most one of each check per pair.
    """
    pairs = list({pair.id: pair for pair in pairs}.values())  # equal ids are equal wordings
    vectors = embed_once(embed, [pair.question for pair in pairs])
    present = {pair.id for pair in pairs}
    flags = [flag for flag in earlier if flag.pair_id in present]
    flags += support_flags(pairs, chunks) + length_flags(pairs)
    flags += leak_flags(pairs, questions, embed, vectors, leak_similarity, leak_ngram)
    blocked = {flag.pair_id for flag in flags if flag.blocks}
    sound = [pair for pair in pairs if pair.id not in blocked]
    flags += duplicate_flags(sound, vectors, duplicate_similarity)
    place = {pair.id: number for number, pair in enumerate(pairs)}
    return sorted(flags, key=lambda flag: (place[flag.pair_id], CHECKS.index(flag.check)))


def embed_once(embed: Embed, texts: Sequence[str]) -> dict[str, np.ndarray]:
    """Vector of each distinct text; equal texts are embedded once."""
    distinct = sorted(set(texts))
    return dict(zip(distinct, embed(distinct), strict=True)) if distinct else {}


class Evidence:
    """The source text that one pair may draw on, prepared once per set of chunks."""

    def __init__(self, chunks: Sequence[Chunk]):
        self.texts = [" ".join(chunk.text.split()) for chunk in chunks]
        self.sentences = {sentence for chunk in chunks for sentence in sentences(chunk.text)}
        self.dates = [chunk.date.split("-") for chunk in chunks if chunk.date]

    @cached_property
    def numbers(self) -> set[str]:
        """Numbers of the text, and day, month and year of its dates with and without a leading zero."""
        dated = {form for parts in self.dates for part in parts for form in (part, part.lstrip("0"))}
        return dated.union(*(numbers(text) for text in self.texts))

    @cached_property
    def words(self) -> str:
        """Normalised text with the months of its dates; possessives stand there with and without their s."""
        months = [MONTHS[int(month) - 1] for _, month, _ in self.dates]
        return normalize(" ".join([*self.texts, *(_without_possessive(text) for text in self.texts), *months]))

    def says(self, span: str) -> bool:
        """Whether a span stands in one of the chunks verbatim, as whole words, whatever the line breaks."""
        span = " ".join(span.split())
        pattern = rf"(?<!\w){re.escape(span)}(?!\w)"
        return any(span in text and re.search(pattern, text) for text in self.texts)

    def unsaid(self, segment: str) -> str:
        """First sentence of a segment that is not verbatim in the source, "" when all are.

        Source sentences are taken off the front one by one. Splitting the segment alone would not do: it may join
        sentences that have no full stop, such as the lines of a list.
        """
        rest = " ".join(segment.split())
        while rest and not self.says(rest):
            known = [sentence for sentence in self.sentences if rest.startswith(f"{sentence} ")]
            sentence = max(known, key=len) if known else (sentences(rest) or [rest])[0]
            if not known and not self.says(sentence):
                return sentence
            rest = rest[len(sentence) :].strip()
        return ""


def _without_possessive(text: str) -> str:
    return re.sub(r"['\u2019]s\b", "", text)


def support_flags(pairs: Sequence[QAPair], chunks: Sequence[Chunk]) -> list[Flag]:
    """Flag what reasoning and answer say without the evidence saying it: quotes, numbers, names.

    A pair of kind "absent" without evidence abstains and claims nothing, so it is exempt. A pair of another kind
    without evidence, or with evidence that is not among the chunks, gets a quote flag.
    """
    by_id = {chunk.id: chunk for chunk in chunks}
    prepared: dict[tuple[str, ...], Evidence] = {}
    found = []
    for pair in pairs:
        if pair.kind == "absent" and not pair.evidence_ids:
            continue
        missing = [chunk_id for chunk_id in pair.evidence_ids if chunk_id not in by_id]
        if missing or not pair.evidence_ids:
            found.append(
                Flag(pair.id, "quote", f"evidence {missing[0]} is missing" if missing else "no evidence", True)
            )
            continue
        if pair.evidence_ids not in prepared:
            prepared[pair.evidence_ids] = Evidence([by_id[chunk_id] for chunk_id in pair.evidence_ids])
        found += _unsupported(pair, prepared[pair.evidence_ids])
    return found


def _unsupported(pair: QAPair, evidence: Evidence) -> Iterable[Flag]:
    if unsaid := _unsaid(pair, evidence):
        yield Flag(pair.id, "quote", f"not in the evidence: {unsaid}", True)
    claims = f"{pair.reasoning}\n\n{pair.answer}"
    if invented := unknown_numbers(claims, evidence):
        yield Flag(pair.id, "number", f"not in the evidence: {', '.join(invented)}", True)
    if unknown := unknown_names(claims, pair.question, evidence):
        yield Flag(pair.id, "name", f"not in the evidence: {', '.join(unknown)}", True)


def unknown_numbers(claims: str, evidence: Evidence) -> list[str]:
    """Numbers in a text that neither the evidence nor its dates have, sorted; the ordinals of a list are none."""
    return sorted(numbers(ORDINAL.sub("", claims)) - evidence.numbers)


def unknown_names(claims: str, question: str, evidence: Evidence) -> list[str]:
    """Names in a text that neither the evidence nor the months of its dates nor the question have, sorted."""
    asked = normalize(f"{question} {_without_possessive(question)}")
    found = names(ORDINAL.sub("", claims))
    return sorted(name for name in found if not contains(evidence.words, name) and not contains(asked, name))


def _unsaid(pair: QAPair, evidence: Evidence) -> str:
    """First recalled sentence or quotation that the evidence does not have; dates that lead a recall are left out."""
    own_words = pair.kind in REASONED
    for segment in RECALL.split("" if own_words else pair.reasoning):
        segment = segment.strip()
        if unsaid := evidence.unsaid(segment):
            bare = segment.strip('"\u201c\u201d')
            if bare == segment or evidence.unsaid(bare):
                return unsaid
    for text in (pair.reasoning, pair.answer) if own_words else (pair.answer,):
        for found in QUOTED.finditer(text):
            span = (found[1] or found[2]).strip(" .,;:!?\u2026")
            if span and not evidence.says(span):
                return span
    return ""


def length_flags(pairs: Sequence[QAPair]) -> list[Flag]:
    """Flag questions of a length that nobody asks, empty answers, and answers that only repeat the question."""
    found = []
    for pair in pairs:
        size = len(normalize(pair.question).split())
        told = content_words(pair.answer)
        if not SHORTEST <= size <= LONGEST:
            found.append(Flag(pair.id, "length", f"question of {size} words", True))
        elif not pair.answer.strip():
            found.append(Flag(pair.id, "length", "empty answer", True))
        if told and told <= content_words(pair.question):
            found.append(Flag(pair.id, "echo", "the answer only repeats words of the question", False))
    return found


def leak_flags(
    pairs: Sequence[QAPair],
    questions: Sequence[Question],
    embed: Embed,
    vectors: Mapping[str, np.ndarray],
    leak_similarity: float = 0.9,
    leak_ngram: float = 0.6,
) -> list[Flag]:
    """Flag pairs whose question is too close to a held-out question: equal, in its word 4-grams, or in its embedding.

    The detail names the held-out question's id and the way it was found, never its wording, so that nobody who
    reads the flags learns what is held out. Held-out questions of less than four words are compared as a whole and
    by embedding only.

    Args:
        pairs: the pairs to check.
        questions: the held-out questions.
        embed: see `check_pairs`.
        vectors: the embedding of each pair's question, by its wording.
        leak_similarity: see `check_pairs`.
        leak_ngram: see `check_pairs`.
    """
    if not pairs or not questions:
        return []
    exact = {normalize(question.question): question.id for question in reversed(questions)}
    grams = [ngrams(question.question) for question in questions]
    holders = defaultdict(list)
    for index, held in enumerate(grams):
        for gram in held:
            holders[gram].append(index)
    closest = nearest([vectors[pair.question] for pair in pairs], embed([question.question for question in questions]))
    found = []
    for pair, (index, cosine) in zip(pairs, closest, strict=True):
        copied, share = _shared(ngrams(pair.question), grams, holders)
        if held := exact.get(normalize(pair.question)):
            found.append(Flag(pair.id, "leak", f"exact: held-out question {held}", True))
        elif share >= leak_ngram:
            detail = f"n-gram: {share:.0%} of the 4-grams of held-out question {questions[copied].id}"
            found.append(Flag(pair.id, "leak", detail, True))
        elif cosine >= leak_similarity:
            detail = f"embedding: cosine {cosine:.2f} with held-out question {questions[index].id}"
            found.append(Flag(pair.id, "leak", detail, True))
    return found


def ngrams(text: str) -> set[tuple[str, ...]]:
    """Word 4-grams of a normalised text; none when it has less than four words."""
    tokens = normalize(text).split()
    return {tuple(tokens[start : start + NGRAM]) for start in range(len(tokens) - NGRAM + 1)}


def _shared(
    own: set[tuple[str, ...]], grams: Sequence[set[tuple[str, ...]]], holders: Mapping[tuple[str, ...], list[int]]
) -> tuple[int, float]:
    """The held-out question of which `own` has the largest share of 4-grams, and that share; (-1, 0.0) for none."""
    counts: dict[int, int] = defaultdict(int)
    for gram in own:
        for index in holders.get(gram, ()):
            counts[index] += 1
    shares = [(counts[index] / len(grams[index]), -index) for index in counts]
    share, index = max(shares, default=(0.0, 1))
    return -index, share


def nearest(rows: Sequence[np.ndarray], held: np.ndarray) -> list[tuple[int, float]]:
    """For each row the index and the cosine of the nearest held-out vector, block by block to bound the memory."""
    import numpy as np

    best = []
    for start in range(0, len(rows), BLOCK):
        cosines = np.stack(rows[start : start + BLOCK]) @ np.asarray(held).T
        index = cosines.argmax(axis=1)
        best += zip(index.tolist(), cosines.max(axis=1).tolist(), strict=True)
    return best


def duplicate_flags(
    pairs: Sequence[QAPair], vectors: Mapping[str, np.ndarray], duplicate_similarity: float = 0.97
) -> list[Flag]:
    """Flag questions that are asked twice; see the table of `check_pairs`.

    Wording is compared over all pairs by its normal form. Embeddings are compared within one fact only: questions
    about different facts are often alike on purpose ("Who is Ilse?", "Who is Elsa?").
    """
    first: dict[tuple[str, ...], str] = {}  # id of the first pair that asks so, alone and with its fact or its answer
    unlike: dict[str, list[np.ndarray]] = defaultdict(list)  # by fact: the questions that stay
    found: dict[str, Flag] = {}
    for pair in pairs:
        asked = (normalize(pair.question),)
        same = (*asked, "fact", pair.fact_id), (*asked, "answer", normalize(pair.answer))
        twin = first.get(same[0]) or first.get(same[1])
        other = first.get(asked)
        likeness = max((float(vector @ vectors[pair.question]) for vector in unlike[pair.fact_id]), default=-1.0)
        if twin:
            found[pair.id] = Flag(pair.id, "duplicate", f"same question as pair {twin}", True)
        elif likeness >= duplicate_similarity:
            found[pair.id] = Flag(pair.id, "duplicate", f"cosine {likeness:.2f} with a question of its fact", True)
        elif other:
            found[pair.id] = Flag(pair.id, "conflict", f"another answer than pair {other}", pair.scope == "local")
            found.setdefault(other, Flag(other, "conflict", f"another answer than pair {pair.id}", False))
        if pair.id in found and found[pair.id].blocks:
            continue
        for key in (asked, *same):
            first.setdefault(key, pair.id)
        unlike[pair.fact_id].append(vectors[pair.question])
    return list(found.values())
