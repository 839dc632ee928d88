"""What an entity may be: its type, one of an asked list, and what is no entity at all."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence

from ragtune_lib.graph.extract import fold_plural
from ragtune_lib.graph.name_rules import CALENDAR
from ragtune_lib.text import normalize

ENTITY_TYPES = ("organization", "person", "geo", "event", "specific object", "abstract object")  # of the paper
_MEANT = {
    "organization": "company institution agency team group government brand publication",
    "person": "people human individual character author",
    "geo": "location place city country region geography address landmark",
    "event": "incident meeting conference festival war",
    "specific object": "object product software tool device work food book",
    "abstract object": "concept idea topic technology theory method field feeling",
}
# what models write instead of the paper's types
NEAREST = {word: kind for kind, words in _MEANT.items() for word in words.split()}
_YEAR = re.compile(r"[12]\d{3}s?")
_CLOCK = re.compile(
    r"\d{1,2}:\d{2}(:\d{2})?( ?[ap]\.?m\.?)?|\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}([T ][\d:.+Z-]+)?", re.IGNORECASE
)
_ORDINAL = re.compile(r"\d+(st|nd|rd|th|s|am|pm)?|q[1-4]")


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


_WHEN = CALENDAR | _set(
    """days week weeks weekend weekends month months year years decade decades century centuries hour hours minute
    minutes seconds today yesterday tomorrow tonight noon midnight morning afternoon evening"""
)
_BESIDE = _set("the a of in on at to and from until early mid late last next this previous am pm ad bc utc")


def nearest_type(kind: str, types: Sequence[str]) -> str:
    """The type of the list that a model meant: the same word but for its form, what it stands for, a misspelt one.

    >>> [nearest_type(kind, ENTITY_TYPES) for kind in ("Organisations", "SPECIFIC_OBJECT", "city", "mood")]
    ['organization', 'specific object', 'geo', '']
    """
    asked, meant = {plain(name): name for name in types}, plain(kind)
    for word in (meant, NEAREST.get(meant, ""), *meant.split(), *(NEAREST.get(word, "") for word in meant.split())):
        if word in asked:
            return asked[word]
    close = difflib.get_close_matches(meant, asked, 1, 0.8)
    return asked[close[0]] if close else ""


def is_time(name: str, kind: str) -> bool:
    """Whether a name is a date, a time, a year or a span of time, which is no entity.

    Month and weekday alone may be a person's name; a number that could be a year is taken for one.

    >>> [is_time(name, "event") for name in ("27 June 2022", "the 1990s", "10:30 am", "last week", "2022-06-27")]
    [True, True, True, True, True]
    >>> is_time("April", "person"), is_time("Black Friday", "event"), is_time("Apollo 11", "event")
    (False, False, False)
    """
    if _CLOCK.fullmatch(name.strip()):
        return True
    words = normalize(name).split()
    if len(words) == 1 and words[0] in CALENDAR and kind == "person":
        return False
    telling = [word for word in words if word in _WHEN or _YEAR.fullmatch(word)]
    rest = (word for word in words if word not in telling and word not in _BESIDE)
    return bool(telling) and all(_ORDINAL.fullmatch(word) for word in rest)


def plain(kind: str) -> str:
    """The words of a type, by which two of them are compared."""
    return " ".join(map(fold_plural, normalize(kind).split()))
