"""Extraction by rules: chunks to mentions of names and recurring noun phrases, without any model.

The rules learn from the corpus itself how each word is used (capitalised or not, as a noun or as a verb), so they need
no dictionary; only the small closed classes of English below are written down.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ragtune_lib.records import Chunk, Mention
from ragtune_lib.text import MONTHS, STOPWORDS, WORD, sentence_spans


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


DAYS = _set("monday tuesday wednesday thursday friday saturday sunday")
CALENDAR = DAYS | {month.lower() for month in MONTHS} | {f"{day}s" for day in DAYS}
TITLES = _set("mr mrs ms miss mx dr doctor prof professor sir lady lord captain canon reverend rev st saint inspector")
CONNECTORS = _set("of de la le les du des del della di da dos von van der den ter zu zum y bin ibn upon sur")
DETERMINERS = _set("the a an my our his her their its your")
NUMBER_WORDS = _set(
    """zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen
    eighteen nineteen twenty thirty forty fifty sixty seventy eighty ninety hundred thousand million half quarter dozen
    third fourth fifth sixth seventh eighth ninth tenth second double twice"""
)
# Words that measure, order or point: they stand after a determiner but name nothing one could ask about.
GENERIC = _set(
    """lot way bit kind sort part end side thing piece pair number amount couple rest top bottom front middle edge
    centre center place point matter case fact reason idea question answer word line page sign moment minute hour day
    week weekend month year decade century season spring summer autumn winter morning noon afternoon evening night
    midnight dusk dawn date time fortnight holiday start beginning past future present world life man woman person
    people somebody stranger guest name pound euro dollar penny metre meter kilo mile inch degree percent step turn use
    look mood voice hand head eye face back arm self size shape form set row rise fall view help work job news truth
    condition promise trouble mistake care home order"""
)
# Adjectives too common to make a phrase; a phrase never ends in one.
COMMON_ADJECTIVES = _set(
    """good better best bad worse worst new old young small big large little tiny great long short high low early late
    first last next whole entire other another same own only main real right wrong full empty open free easy hard heavy
    light dark cold hot warm cool dry wet loud quiet slow quick fine nice kind sad happy angry proud sorry ready sure
    true plain single usual previous final current certain different similar various several many few clear clean
    dirty strange funny lovely beautiful thin thick deep wide narrow steep soft sharp strong weak rich poor perfect
    terrible wonderful dead alive absent spare enough red blue green yellow white black brown grey gray"""
)
PREPOSITIONS = _set(
    "across along around beside beneath beyond inside outside past alongside throughout despite opposite"
)
# Sentence openers that are never names, beyond the general stop words.
OPENERS = _set(
    """afterwards meanwhile later earlier finally suddenly nothing neither everybody nobody something everything tonight
    everyone somehow otherwise besides nevertheless moreover therefore thus hence please thanks hello dear ok okay
    sometimes usually maybe according despite unlike except inside outside alongside beneath beyond via per like"""
)
SUBJECTS = _set("i we he she they you it who to will would can could should must may might shall did does do not never")
PRESENT = _set("s m ve re ll d t")  # what an apostrophe leaves: it's, I'm, we've
FUNCTION_WORDS = STOPWORDS | PREPOSITIONS
LOWER_SHARE = 0.2  # a sentence's first word is a name only if at most this share of its uses is in lower case
MIN_DOCUMENTS = 2  # a phrase recurs: one that stands in a single document connects nothing


@dataclass(frozen=True, slots=True)
class _Token:
    """A word of a sentence."""

    text: str
    start: int
    end: int
    initial: bool  # opens a sentence, a quotation or what follows a colon, so its capital says nothing

    @property
    def base(self) -> str:
        """The word in lower case, without what an apostrophe adds."""
        return re.split(r"['\u2019]", self.text.lower())[0] if self.possessive else self.text.lower()

    @property
    def possessive(self) -> bool:
        return self.text.lower().endswith(("'s", "\u2019s"))

    @property
    def bare(self) -> int:
        """Where the word ends in its sentence without a possessive 's."""
        return self.end - 2 if self.possessive else self.end

    @property
    def capital(self) -> bool:
        return self.text[0].isupper()


@dataclass(frozen=True, slots=True)
class _Line:
    """A sentence of the corpus, seen once however many chunks it lies in."""

    text: str
    chunk_id: str
    start: int  # character offset in the document
    place: str  # what counts as "another document" for recurrence
    tokens: tuple[_Token, ...]


def extract_mentions(chunks: Sequence[Chunk]) -> list[Mention]:
    """Find names and recurring noun phrases in every sentence.

    A name is a run of capitalised words ("Ilse Brandt", "Rue de Lille"); a word that opens a sentence counts when the
    corpus capitalises it elsewhere too and hardly ever writes it small. A phrase is one or two nouns that stand after
    a determiner and recur in at least two documents ("allotment", "left knee"); when there is but one document, in at
    least two of its chunks. Months, weekdays, titles alone and words of measure or time are left out.

    Args:
        chunks: spans of documents; where they overlap, a sentence counts once.

    Returns:
        Mentions in order of chunks and sentences, each name at most once per sentence; `start` is the sentence's
        offset in its document. Empty for a text without names.
    """
    lines = _lines(chunks)
    names = [_names(line, cases) for cases in [_Cases(lines)] for line in lines]
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


def _lines(chunks: Sequence[Chunk]) -> list[_Line]:
    spans = whole_sentences(chunks)
    single = len({chunks[rank].document_id for rank, _, _ in spans}) == 1
    lines = []
    for rank, start, end in spans:
        chunk = chunks[rank]
        text = " ".join(chunk.text[start - chunk.start : end - chunk.start].split())
        place = chunk.id if single else chunk.document_id
        lines.append(_Line(text, chunk.id, start, place, tuple(_tokens(text))))
    return lines


def _tokens(sentence: str) -> Iterator[_Token]:
    for position, word in enumerate(WORD.finditer(sentence)):
        before = sentence[: word.start()].rstrip(" ")
        after_mark = word.start() > 0 and sentence[word.start() - 1] in "\"'\u201c\u2018\u00ab[("
        initial = position == 0 or after_mark or before.endswith((":", "!", "?", "\u2026", "\u2014", "*", "\u2022"))
        yield _Token(word.group(), word.start(), word.end(), initial)


class _Cases:
    """How the corpus writes each word: capitalised inside a sentence, capitalised at its start, small."""

    def __init__(self, lines: Sequence[_Line]):
        self.inside: Counter[str] = Counter()
        self.opening: Counter[str] = Counter()
        self.small: Counter[str] = Counter()
        for line in lines:
            for token in line.tokens:
                use = (self.opening if token.initial else self.inside) if token.capital else self.small
                use[token.base] += 1

    def is_name(self, token: _Token) -> bool:
        """Whether a capitalised word belongs to a name at this place."""
        word = token.base
        if not _may_be_name(token):
            return False
        if not token.initial:
            return self.inside[word] >= self.small[word]
        if self.inside[word]:
            return self.small[word] <= LOWER_SHARE * (self.inside[word] + self.opening[word])
        # Only ever seen opening sentences: twice, followed by no other form, and no adverb, it is taken as a name.
        return self.opening[word] >= 2 and not self.small[word] and not word.endswith(("ly", "ing")) and len(word) > 2

    def leads_name(self, token: _Token) -> bool:
        """Whether a word at a sentence's start belongs to the name right after it: "Anselm Tregarth came"."""
        unknown = not self.small[token.base] and not token.base.endswith(("ly", "ing"))
        return _may_be_name(token) and (token.base in TITLES or unknown)


def _may_be_name(token: _Token) -> bool:
    closed = token.base in CALENDAR or token.base in STOPWORDS or token.base in OPENERS or _is_pronoun(token)
    return token.capital and not closed


def _is_pronoun(token: _Token) -> bool:
    parts = re.split(r"['\u2019]", token.text.lower())
    return parts[0] in STOPWORDS | {"i"} and (len(parts) == 1 or parts[-1] in PRESENT)


def _names(line: _Line, cases: _Cases) -> list[str]:
    """Names in one sentence, as written, possessive 's taken off."""
    if line.text.isupper() and len(line.tokens) > 1:
        return []  # a shouted line: its capitals mean nothing
    found = []
    position = 0
    while position < len(line.tokens):
        last = _run_end(line, position, cases)
        if last < 0:
            position += 1
            continue
        name = line.text[line.tokens[position].start : line.tokens[last].bare]
        if not _alone_is_no_name(line.tokens[position : last + 1]):
            found.append(name)
        position = last + 1
    return found


def _run_end(line: _Line, first: int, cases: _Cases) -> int:
    """Index of the last token of the name that begins at `first`, -1 when none does."""
    tokens = line.tokens
    follows = first + 1 < len(tokens) and _joined(line, first, first + 1) and _inside_name(tokens[first + 1])
    if not (cases.is_name(tokens[first]) or (follows and cases.leads_name(tokens[first]))):
        return -1
    last = first
    while last + 1 < len(tokens) and not tokens[last].possessive and _joined(line, last, last + 1):
        following = last + 1
        while following < len(tokens) - 1 and following - last <= 2 and _connects(line, following):
            following += 1
        if not _inside_name(tokens[following]):
            break
        last = following
    return last


def _inside_name(token: _Token) -> bool:
    """Whether a word can continue a name: there its capital counts even when the word is common ("Copper Whisk")."""
    usable = token.capital and not token.initial and not _is_pronoun(token)
    return usable and token.base not in CALENDAR and token.base not in STOPWORDS


def _connects(line: _Line, position: int) -> bool:
    """Whether a small word can stand inside a name here: "Bay of Fundy", "Lady of the Lake"."""
    word = line.tokens[position].text
    after_of = word == "the" and line.tokens[position - 1].text == "of"
    return (word in CONNECTORS or after_of) and _joined(line, position, position + 1)


def _joined(line: _Line, left: int, right: int) -> bool:
    """Whether two neighbouring words can belong to one name: a blank, a hyphen, "&", or the dot of "Dr." between."""
    token = line.tokens[left]
    gap = line.text[token.end : line.tokens[right].start]
    dotted = gap in (". ", ".") and (token.base in TITLES or len(token.text) == 1)
    return gap in (" ", "-", "\u2010", " & ") or dotted


def _alone_is_no_name(run: Sequence[_Token]) -> bool:
    return len(run) == 1 and (run[0].base in TITLES or len(run[0].base) < 2)


def _phrases(lines: Sequence[_Line]) -> set[tuple[str, ...]]:
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

    def __init__(self, lines: Sequence[_Line]):
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


def _noun_runs(line: _Line) -> Iterator[list[str]]:
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


def _phrase_uses(line: _Line, vocabulary: set[tuple[str, ...]]) -> Iterator[str]:
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
