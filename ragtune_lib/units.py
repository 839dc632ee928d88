"""Units of evidence: source sentences that can stand alone, and the words that tell them apart."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence

from ragtune_lib.records import Chunk, Sentence
from ragtune_lib.text import content_words, normalize, sentences

# a sentence that starts like this leans on the one before it and makes no sense alone
LEANS = re.compile(r"(?:It|He|She|They|This|That|These|Those|His|Her|Their|Its|Both|Neither|So|But|Then|There)\b")


def evidence_units(chunks: Sequence[Chunk], longest: int = 40) -> list[Sentence]:
    """Sentences of all chunks, each joined to the one before it where it cannot stand alone.

    Args:
        chunks: in document order; a sentence that lies in two overlapping chunks is taken once.
        longest: words; a join that would be longer is not made.
    """
    units: list[Sentence] = []
    seen: set[tuple[str, str]] = set()
    for chunk in chunks:
        fresh = []
        for text in sentences(chunk.text):
            if (chunk.document_id, text) in seen or not re.search(r"\w", text):
                continue
            seen.add((chunk.document_id, text))
            leans = LEANS.match(text) or len(text.split()) < 5
            if fresh and leans and len(fresh[-1].split()) + len(text.split()) <= longest:
                fresh[-1] = f"{fresh[-1]} {text}"
            else:
                fresh.append(text)
        units += [Sentence(text, chunk.id, chunk.date) for text in fresh]
    return units


def cue_words(units: Sequence[Sentence], embed: Callable, count: int = 3, frequent: int = 4) -> list[str]:
    """For each unit the few words that tell it from the others, the most telling first: "lentil, soup, stairs".

    A model that says them first decides by the sense of the question what it will recall. Without them the first word
    of the sentence decides, and half of all sentences begin with one of a few names.

    Args:
        units: source sentences.
        embed: texts to rows of length 1; a word is the more telling the nearer it is to its unit.
        count: words per unit.
        frequent: words that stand in more units than this tell nothing.
    """
    counts = Counter(word for unit in units for word in content_words(unit.text))
    spelled = [_rare_words(unit.text, counts, frequent) for unit in units]
    vocabulary = sorted({word for words in spelled for word in words})
    places = {word: place for place, word in enumerate(vocabulary)}
    vectors, own = embed(vocabulary), embed([unit.text for unit in units])
    return [
        ", ".join(sorted(words, key=lambda word: -float(vectors[places[word]] @ vector))[:count])
        for words, vector in zip(spelled, own, strict=True)
    ]


def _rare_words(text: str, counts: Counter, frequent: int) -> list[str]:
    """Content words of a text as they are spelled there, without the frequent ones and bare numbers."""
    own = content_words(text)
    found = [word for word in dict.fromkeys(re.findall(r"[^\W_][\w'\u2019-]*", text)) if normalize(word) in own]
    return [word for word in found if counts[normalize(word)] <= frequent and not word.isdigit()] or found[:3]
