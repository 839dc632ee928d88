"""Extraction by rules: chunks to mentions of names and recurring noun phrases, without any model.

The rules learn from the corpus itself how each word is used (capitalised or not, as a noun or as a verb), so they need
no dictionary; only the small closed classes of English below are written down.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

from ragtune_lib.graph.name_rules import DETERMINERS, Cases, Line, names_in, tokens_of, word_set
from ragtune_lib.records import Chunk, Mention
from ragtune_lib.text import STOPWORDS, sentence_spans

NUMBER_WORDS = word_set(
    """zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen
    eighteen nineteen twenty thirty forty fifty sixty seventy eighty ninety hundred thousand million half quarter dozen
    third fourth fifth sixth seventh eighth ninth tenth second double twice"""
)
# Words that measure, order or point: they stand after a determiner but name nothing one could ask about.
GENERIC = word_set(
    """lot way bit kind sort part end side thing piece pair number amount couple rest top bottom front middle edge
    centre center place point matter case fact reason idea question answer word line page sign moment minute hour day
    week weekend month year decade century season spring summer autumn winter morning noon afternoon evening night
    midnight dusk dawn date time fortnight holiday start beginning past future present world life man woman person
    people somebody stranger guest name pound euro dollar penny metre meter kilo mile inch degree percent step turn use
    look mood voice hand head eye face back arm self size shape form set row rise fall view help work job news truth
    condition promise trouble mistake care home order"""
)
# Adjectives too common to make a phrase; a phrase never ends in one.
COMMON_ADJECTIVES = word_set(
    """good better best bad worse worst new old young small big large little tiny great long short high low early late
    first last next whole entire other another same own only main real right wrong full empty open free easy hard heavy
    light dark cold hot warm cool dry wet loud quiet slow quick fine nice kind sad happy angry proud sorry ready sure
    true plain single usual previous final current certain different similar various several many few clear clean
    dirty strange funny lovely beautiful thin thick deep wide narrow steep soft sharp strong weak rich poor perfect
    terrible wonderful dead alive absent spare enough red blue green yellow white black brown grey gray"""
)
PREPOSITIONS = word_set(
    "across along around beside beneath beyond inside outside past alongside throughout despite opposite"
)
SUBJECTS = word_set(
    "i we he she they you it who to will would can could should must may might shall did does do not never"
)
FUNCTION_WORDS = STOPWORDS | PREPOSITIONS
MIN_DOCUMENTS = 2  # a phrase recurs: one that stands in a single document connects nothing


def extract_mentions(chunks: Sequence[Chunk]) -> list[Mention]:
    """Find names and recurring noun phrases in every sentence.

    A name is a run of capitalised words ("Ilse Brandt", "Rue de Lille", "New York"), with the number after it ("Studio
    54"); a word that opens a sentence counts when the corpus capitalises it elsewhere too and hardly ever writes it
    small. The adjective of a people before its noun ("a Swiss painter") is no name. A phrase is one or two nouns that
    stand after a determiner and recur in at least two documents ("allotment", "left knee"); when there is but one
    document, in at least two of its chunks. Months, weekdays, titles alone and words of measure or time are left out.

    Args:
        chunks: spans of documents; where they overlap, a sentence counts once.

    Returns:
        Mentions in order of chunks and sentences, each name at most once per sentence; `start` is the sentence's
        offset in its document. Empty for a text without names.
    """
    lines = _lines(chunks)
    names = [names_in(line, cases) for cases in [Cases(lines)] for line in lines]
    vocabulary = _phrases(lines)
    mentions = []
    for line, found in zip(lines, names, strict=True):
        spelled = [("name", name) for name in found]
        spelled += [("phrase", phrase) for phrase in _phrase_uses(line, vocabulary)]
        for kind, name in dict.fromkeys(spelled):
            mentions.append(Mention(name, kind, line.text, line.chunk_id, line.start))
    return mentions


def fold_plural(word: str) -> str:
    """Singular of a regular English plural, for comparison only.

    >>> [fold_plural(word) for word in ("pears", "cherries", "glass", "bus", "box", "boxes", "houses")]
    ['pear', 'cherry', 'glass', 'bus', 'box', 'box', 'house']
    """
    if len(word) < 4 or not word.endswith("s") or word.endswith(("ss", "us", "is")):
        return word
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    return word[:-2] if word.endswith(("xes", "ches", "shes", "sses")) else word[:-1]


def whole_sentences(chunks: Sequence[Chunk]) -> list[tuple[int, int, int]]:
    """Where the sentences of all chunks stand, each once; one that lies in a longer one of its document is left out.

    Chunks that overlap cut sentences in two and repeat others.

    Returns:
        Rank of the chunk, start and end in the document, in order of chunks and sentences.
    """
    spans: dict[str, list[tuple[int, int, int]]] = defaultdict(list)
    for rank, chunk in enumerate(chunks):
        for start, end in sentence_spans(chunk.text):
            spans[chunk.document_id].append((chunk.start + start, -(chunk.start + end), rank))
    kept = set()
    for found in spans.values():
        reached = -1
        for start, negative_end, rank in sorted(found):
            if -negative_end > reached:
                reached = -negative_end
                kept.add((rank, start, -negative_end))
    return sorted(kept)


def _lines(chunks: Sequence[Chunk]) -> list[Line]:
    spans = whole_sentences(chunks)
    single = len({chunks[rank].document_id for rank, _, _ in spans}) == 1
    lines = []
    for rank, start, end in spans:
        chunk = chunks[rank]
        text = " ".join(chunk.text[start - chunk.start : end - chunk.start].split())
        place = chunk.id if single else chunk.document_id
        lines.append(Line(text, chunk.id, start, place, tuple(tokens_of(text))))
    return lines


def _phrases(lines: Sequence[Line]) -> set[tuple[str, ...]]:
    """Nouns and pairs of words, folded to the singular, that recur as noun phrases."""
    use = _WordUse(lines)
    places: dict[tuple[str, ...], set[str]] = defaultdict(set)
    for line in lines:
        for run in _noun_runs(line):
            words = tuple(fold_plural(word) for word in run)
            heads = [index for index, word in enumerate(words) if use.is_noun(word)]
            if heads:
                head = heads[-1]
                places[words[head : head + 1]].add(line.place)
                if head and not _is_weak(words[head - 1]):
                    places[words[head - 1 : head + 1]].add(line.place)
    return {phrase for phrase, found in places.items() if len(found) >= MIN_DOCUMENTS}


def _is_weak(word: str) -> bool:
    """Whether a word measures, orders, compares or points rather than names."""
    superlative = word.endswith("est") and len(word) > 6
    return superlative or word in GENERIC or word in COMMON_ADJECTIVES or word in NUMBER_WORDS


class _WordUse:
    """How often each small word stands as a noun, before another noun, and as a verb."""

    def __init__(self, lines: Sequence[Line]):
        self.noun: Counter[str] = Counter()
        self.before: Counter[str] = Counter()
        self.verb: Counter[str] = Counter()
        for line in lines:
            for left, right in zip(line.tokens, line.tokens[1:], strict=False):
                if left.base in SUBJECTS:
                    self.verb[fold_plural(right.base)] += not right.capital
        runs = [run for line in lines for run in _noun_runs(line)]
        nouns = {fold_plural(run[0]) for run in runs}  # directly after a determiner stands no verb
        for run in runs:
            words = [fold_plural(word) for word in run]
            verbal = (word.endswith("ed") or (self.verb[word] and word not in nouns) for word in words[1:])
            phrase = words[: next((index for index, verb in enumerate(verbal, 1) if verb), len(words))]
            # "the allotment flooded": the verb has ended the noun phrase
            self.noun[phrase[-1]] += 1
            self.before.update(phrase[:-1])

    def is_noun(self, word: str) -> bool:
        """Whether the corpus uses a word as the head of noun phrases, and rarely otherwise."""
        return (
            not _is_weak(word)
            and not word.endswith(("ly", "ed"))
            and self.noun[word] >= 2
            and self.noun[word] > self.verb[word] + self.before[word]
        )


def _noun_runs(line: Line) -> Iterator[list[str]]:
    """Small words between a determiner (or a possessive) and the first mark or function word."""
    tokens = line.tokens
    for position, token in enumerate(tokens):
        if token.base not in DETERMINERS and not (token.possessive and token.base not in STOPWORDS):
            continue
        run: list[str] = []
        ended = True
        for index in range(position + 1, len(tokens)):
            word = tokens[index]
            gap = line.text[tokens[index - 1].end : word.start]
            if gap not in (" ", "-") or word.base in FUNCTION_WORDS or word.capital or not word.text.isalpha():
                ended = gap not in (" ", "-") or word.base in FUNCTION_WORDS
                if word.possessive and gap == " " and not word.capital and word.base not in FUNCTION_WORDS:
                    run.append(word.base)
                    ended = True
                break
            if gap == "-" and index > position + 1:
                del run[-1:]  # "cast-iron bathtub": a compound qualifies, the noun comes after it
                continue
            run.append(word.base)
        if ended and 1 <= len(run) <= 3:
            yield run


def _phrase_uses(line: Line, vocabulary: set[tuple[str, ...]]) -> Iterator[str]:
    """Phrases of the vocabulary in one sentence, longest first from the left; not where a verb would stand."""
    tokens = line.tokens
    position = 0
    while position < len(tokens):
        step = 1
        for length in (2, 1):
            span = tokens[position : position + length]
            words = tuple(fold_plural(token.base) for token in span)
            small = all(not token.capital or token.initial for token in span)
            verbal = position > 0 and tokens[position - 1].base in SUBJECTS
            adjacent = len(span) == 1 or line.text[span[0].end : span[-1].start] in (" ", "-")
            if len(span) == length and words in vocabulary and small and adjacent and not verbal:
                yield line.text[span[0].start : span[-1].bare].lower()
                step = length
                break
        position += step
