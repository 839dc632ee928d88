"""Which capitalised words of a sentence are names; rules that learn from the corpus how it writes each word.

They were chosen by kinds of errors on annotated text (`tests/benchmarks/extraction.py`); the word lists are closed
classes of English, none was made from those texts.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from ragtune_lib.text import MONTHS, STOPWORDS, WORD


def word_set(words: str) -> frozenset[str]:
    """The words of a text, written as in a sentence."""
    return frozenset(words.split())


DAYS = word_set("monday tuesday wednesday thursday friday saturday sunday")
CALENDAR = DAYS | {month.lower() for month in MONTHS} | {f"{day}s" for day in DAYS}
TITLES = word_set(
    "mr mrs ms miss mx dr doctor prof professor sir lady lord captain canon reverend rev st saint inspector"
)
CONNECTORS = word_set("of de la le les du des del della di da dos von van der den ter zu zum y bin ibn al el upon sur")
# What organisations call themselves: after these "for" and "on" go on with a name.
BODIES = word_set(
    """academy agency alliance association award board bureau campaign center centre chamber church coalition college
    commission committee company confederation conference congress convention corps council court department division
    faculty federation festival foundation fund group guild hall house initiative institute institution journal
    laboratory league library medal ministry movement museum network office order organisation organization party
    prize program programme project republic school secretary section service society state states trust union
    university"""
)
# What people are "of": these keep it, as in "Lord Mayor of London".
OFFICES = word_set(
    """admiral ambassador archbishop baron bishop chairman chancellor chief commissioner count countess dean director
    duchess duke earl emperor empress general governor head judge justice king lieutenant lord marquis mayor member
    minister officer president prince princess queen representative secretary senator speaker treasurer viscount"""
)
# Sentence openers that are never names, beyond the general stop words.
OPENERS = word_set(
    """afterwards meanwhile later earlier finally suddenly nothing neither everybody nobody something everything tonight
    everyone somehow otherwise besides nevertheless moreover therefore thus hence please thanks hello dear ok okay
    sometimes usually maybe according despite unlike except inside outside alongside beneath beyond via per like"""
)
PRESENT = word_set("s m ve re ll d t")  # what an apostrophe leaves: it's, I'm, we've
DETERMINERS = word_set("the a an my our his her their its your")
# How the adjectives of peoples and creeds end in English, and those that have no ending of their own.
PEOPLES = re.compile(
    r"(?:an|ish|ese|ic|ist|^(?:french|dutch|greek|welsh|czech|swiss|thai|muslim|arab|iraqi|israeli|pakistani|saudi"
    r"|bangladeshi|nepali|somali|yemeni))$"
)
LOWER_SHARE = 0.2  # a sentence's first word is a name only if at most this share of its uses is in lower case


@dataclass(frozen=True, slots=True)
class Token:
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
        """Whether it ends in 's."""
        return self.text.lower().endswith(("'s", "\u2019s"))

    @property
    def bare(self) -> int:
        """Where the word ends in its sentence without a possessive 's."""
        return self.end - 2 if self.possessive else self.end

    @property
    def capital(self) -> bool:
        """Whether it begins with a capital letter."""
        return self.text[0].isupper()


@dataclass(frozen=True, slots=True)
class Line:
    """A sentence of the corpus, seen once however many chunks it lies in."""

    text: str
    chunk_id: str
    start: int  # character offset in the document
    place: str  # what counts as "another document" for recurrence
    tokens: tuple[Token, ...]


def tokens_of(sentence: str) -> Iterator[Token]:
    """The words of a sentence, in order."""
    for position, word in enumerate(WORD.finditer(sentence)):
        before = sentence[: word.start()].rstrip(" ")
        after_mark = word.start() > 0 and sentence[word.start() - 1] in "\"'\u201c\u2018\u00ab[("
        initial = position == 0 or after_mark or before.endswith((":", "!", "?", "\u2026", "\u2014", "*", "\u2022"))
        yield Token(word.group(), word.start(), word.end(), initial)


class Cases:
    """How the corpus writes each word: capitalised inside a sentence, capitalised at its start, small."""

    def __init__(self, lines: Sequence[Line]):
        self.inside: Counter[str] = Counter()
        self.opening: Counter[str] = Counter()
        self.small: Counter[str] = Counter()
        self.pairs: set[tuple[str, str]] = set()  # capitalised neighbours inside a sentence
        self.adjectives: set[str] = set()  # of peoples and creeds: "a Swiss mathematician", "the Catholic priest"
        for line in lines:
            for token in line.tokens:
                use = (self.opening if token.initial else self.inside) if token.capital else self.small
                use[token.base] += 1
            for place, (left, right) in enumerate(pairwise(line.tokens)):
                if left.capital and not left.initial and _inside_name(right):
                    self.pairs.add((left.base, right.base))
                if place and _qualifies(line, place) and line.tokens[place - 1].base in DETERMINERS:
                    self.adjectives.add(left.base)

    def is_name(self, token: Token) -> bool:
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

    def leads_name(self, token: Token, following: Token) -> bool:
        """Whether a word belongs to the name right after it: "in New York", "Anselm Tregarth came"."""
        if not token.initial or (token.base, following.base) in self.pairs:
            return _may_be_name(token)
        unknown = not self.small[token.base] and not token.base.endswith(("ly", "ing"))
        return _may_be_name(token) and (token.base in TITLES or unknown)


def _may_be_name(token: Token) -> bool:
    closed = token.base in CALENDAR or token.base in OPENERS or _is_stop_word(token)
    return token.capital and not closed


def _is_stop_word(token: Token) -> bool:
    """Whether it is a stop word, or a pronoun with what an apostrophe leaves of a verb; "US" is a country."""
    parts = re.split(r"['\u2019]", token.text.lower())
    pronoun = parts[0] in STOPWORDS | {"i"} and (len(parts) == 1 or parts[-1] in PRESENT)
    return (pronoun or token.base in STOPWORDS) and token.text[: token.bare - token.start] != "US"


def names_in(line: Line, cases: Cases) -> list[str]:
    """Names in one sentence, as written, possessive 's taken off; a run of words whose capitals count."""
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
        adjective = last == position and line.tokens[last].base in cases.adjectives and _qualifies(line, last)
        if not adjective and not _alone_is_no_name(line.tokens[position : last + 1]):
            found.append(name)
        position = last + 1
    return found


def _run_end(line: Line, first: int, cases: Cases) -> int:
    """Index of the last token of the name that begins at `first`, -1 when none does."""
    tokens = line.tokens
    follows = first + 1 < len(tokens) and _joined(line, first, first + 1) and _inside_name(tokens[first + 1])
    if not (cases.is_name(tokens[first]) or (follows and cases.leads_name(tokens[first], tokens[first + 1]))):
        return -1
    last = first
    while last + 1 < len(tokens) and not tokens[last].possessive and _joined(line, last, last + 1):
        following = last + 1
        while following < len(tokens) - 1 and following - last <= 2 and _connects(line, first, following, cases):
            following += 1
        if not _inside_name(tokens[following]):
            break
        last = following
    return last + _numbered(line, last)


def _qualifies(line: Line, place: int) -> bool:
    """Whether a word looks like the adjective of a people or creed, before what may be its noun."""
    token = line.tokens[place]
    if place + 1 == len(line.tokens) or not token.capital or not PEOPLES.search(token.base):
        return False
    following = line.tokens[place + 1]
    blank = line.text[token.end : following.start] == " "
    verb = following.base.endswith("ed") or following.base in STOPWORDS  # "Susan laughed"
    return blank and not following.capital and not verb


def _numbered(line: Line, last: int) -> bool:
    """Whether a name ends in a number: "Apollo 11", "Studio 54"; not "in Iraq 15 people", no year."""
    if last + 1 == len(line.tokens) or line.tokens[last].possessive:
        return False
    name, number = line.tokens[last : last + 2]
    gap, rest = line.text[name.end : number.start], line.text[number.end :]
    counts = re.match(r"%|[.,:]\d|[a-z]", rest) or (gap == " " and re.match(r" [a-z]", rest))
    return gap in (" ", "-") and number.text.isdigit() and len(number.text) < 4 and not counts


def _inside_name(token: Token) -> bool:
    """Whether a word can continue a name: there its capital counts even when the word is common ("Copper Whisk")."""
    return token.capital and not token.initial and token.base not in CALENDAR and not _is_stop_word(token)


def _connects(line: Line, first: int, position: int, cases: Cases) -> bool:
    """Whether a small word can go on with the name that begins at `first`: "Bay of Fundy", "Lady of the Lake"."""
    word, before = line.tokens[position].text, line.tokens[position - 1]
    if not _joined(line, position, position + 1):
        return False
    if word == "the":
        return before.text in ("of", "for", "on") and position - 1 > first
    if word in ("for", "on"):
        return before.base in BODIES
    if word == "of" and position - first > 1:  # "Museum of Flight", but not "Jann Wenner of Rolling Stone"
        return before.base in BODIES | OFFICES or cases.small[before.base] > 0
    return word in CONNECTORS


def _joined(line: Line, left: int, right: int) -> bool:
    """Whether two neighbouring words can belong to one name: a blank, a hyphen, "&", or the dot of "Dr." between."""
    token = line.tokens[left]
    gap = line.text[token.end : line.tokens[right].start]
    dotted = gap in (". ", ".") and (token.base in TITLES or len(token.text) == 1)
    return gap in (" ", "-", "\u2010", " & ") or dotted


def _alone_is_no_name(run: Sequence[Token]) -> bool:
    return len(run) == 1 and (run[0].base in TITLES or len(run[0].base) < 2)
