"""What to mark in a pair and in its source: where the one says what the other does not, and where it is backed.

Everything here gives character spans of a text; how they look is decided in `curation.card`. The rules are those of
`checks` and `support`, applied to the chunks that the pair names.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from difflib import SequenceMatcher
from itertools import pairwise

from ragtune_lib.checks import ORDINAL, Evidence, unknown_names, unknown_numbers
from ragtune_lib.records import Chunk, QAPair
from ragtune_lib.support import Corpus, abstains
from ragtune_lib.text import NUMBER, WORD, content_words, normalize, sentence_spans, without_owner

REMEMBERED = 200  # prepared sets of evidence that are kept: neighbours in a list often share theirs
CLOSELY_COMPARED = 1500  # words; beyond, frequent words are not compared, which is faster and gives a coarser diff
Span = tuple[int, int, str]  # start and end in characters, and what is there


class Sources:
    """The chunks of a run, and what was prepared of them for one pair after another.

    Args:
        chunks: all chunks that the pairs' evidence ids may name.
    """

    def __init__(self, chunks: Iterable[Chunk]):
        self.by_id = {chunk.id: chunk for chunk in chunks}
        self._prepared: dict[tuple[str, ...], tuple[Corpus, Evidence]] = {}

    def prepared(self, evidence_ids: tuple[str, ...]) -> tuple[Corpus, Evidence]:
        """The evidence with these ids, ready for look-ups; ids of chunks that are missing are passed over."""
        if evidence_ids not in self._prepared:
            found = [self.by_id[chunk_id] for chunk_id in evidence_ids if chunk_id in self.by_id]
            while len(self._prepared) >= REMEMBERED:
                self._prepared.pop(next(iter(self._prepared)))
            self._prepared[evidence_ids] = Corpus(found), Evidence(found)
        return self._prepared[evidence_ids]


def doubtful(text: str, pair: QAPair, sources: Sources) -> list[Span]:
    """Where the reasoning or the answer of a pair says what its source does not.

    "unbacked" is a sentence that `support.Corpus.backs` finds in no chunk of the pair, "unknown" a number or a name
    that stands neither there nor, for names, in the question. A pair that abstains without evidence claims nothing.
    """
    if pair.kind == "absent" and not pair.evidence_ids:
        return []
    corpus, evidence = sources.prepared(pair.evidence_ids)
    spans: list[Span] = []
    claims = ORDINAL.sub(lambda counted: re.sub(r"\S", " ", counted.group()), text)  # same length, so spans stay true
    for start, end in sentence_spans(claims):
        sentence = " ".join(claims[start:end].split())
        claimed = bool(content_words(sentence) or NUMBER.search(sentence)) and not abstains(sentence)
        if claimed and not corpus.backs(sentence):
            spans.append((start, end, "unbacked"))
    invented = set(unknown_numbers(text, evidence))
    found = NUMBER.finditer(claims)
    spans += [(*match.span(), "unknown") for match in found if match.group().replace(",", "") in invented]
    for name in unknown_names(text, pair.question, evidence):
        written = r"\s+".join(map(re.escape, name.split()))
        spans += [(*match.span(), "unknown") for match in re.finditer(rf"(?<!\w){written}(?!\w)", text)]
    return spans


def supporting(source: str, pair: QAPair, sources: Sources) -> list[Span]:
    """Where a source chunk backs a pair.

    "recalled" is a sentence that the reasoning or the answer repeats, "said" a word of the answer, those of repeated
    sentences left out, "asked" a word that is in the question alone.
    """
    told, left = (f" {normalize(text)} " for text in (f"{pair.reasoning} {pair.answer}", pair.answer))
    for sentence in sorted(map(normalize, sources.prepared(pair.evidence_ids)[1].sentences), key=len, reverse=True):
        left = left.replace(f" {sentence} ", " ") if sentence else left
    said, asked = content_words(left), content_words(f"{pair.question} {without_owner(pair.question)}")
    spans: list[Span] = []
    for start, end in sentence_spans(source):
        sentence = normalize(source[start:end])
        if sentence and f" {sentence} " in told:
            spans.append((start, end, "recalled"))
    for word in WORD.finditer(source):
        bare = content_words(f"{word.group()} {without_owner(word.group())}")
        if bare & said:
            spans.append((*word.span(), "said"))
        elif bare & asked:
            spans.append((*word.span(), "asked"))
    return spans


def word_diff(before: str, after: str) -> list[tuple[str, str]]:
    """The steps from one wording to another, word by word: ("same" | "deleted" | "inserted", text).

    Joined without the inserted parts they are the old text, joined without the deleted ones the new one.

    >>> word_diff("Ilse sold jam.", "Ilse sold plum jam.")
    [('same', 'Ilse sold '), ('inserted', 'plum '), ('same', 'jam.')]
    """
    old, new = (re.findall(r"\s+|[^\W_]+|[\W_]", text) for text in (before, after))
    matcher = SequenceMatcher(None, old, new, autojunk=max(len(old), len(new)) > CLOSELY_COMPARED)
    steps: list[tuple[str, str]] = []
    for kind, start, end, new_start, new_end in matcher.get_opcodes():
        if kind == "equal":
            steps.append(("same", "".join(old[start:end])))
            continue
        steps += [("deleted", "".join(old[start:end])), ("inserted", "".join(new[new_start:new_end]))]
    return [step for step in steps if step[1]]


def pieces(text: str, spans: Sequence[Span]) -> list[tuple[str, tuple[str, ...]]]:
    """A text cut wherever a span begins or ends: each piece with what holds for it, sorted; spans may overlap.

    >>> pieces("one two", [(0, 7, "unbacked"), (4, 7, "unknown")])
    [('one ', ('unbacked',)), ('two', ('unbacked', 'unknown'))]
    """
    changes: dict[int, list[tuple[str, int]]] = {0: [], len(text): []}
    for start, end, kind in spans:
        changes.setdefault(start, []).append((kind, 1))
        changes.setdefault(end, []).append((kind, -1))
    cuts = sorted(changes)
    open_now: dict[str, int] = {}
    found = []
    for start, end in pairwise(cuts):
        for kind, step in changes[start]:
            open_now[kind] = open_now.get(kind, 0) + step
        found.append((text[start:end], tuple(sorted(kind for kind, count in open_now.items() if count > 0))))
    return found
