"""Small questions about text that several stages ask: sentences, words, numbers, names, dates."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from datetime import date

WORD = re.compile(r"[^\W_]+(?:['\u2019][^\W_]+)*")
NUMBER = re.compile(r"\d+(?:[.,:]\d+)*")
HEADING = r"#{1,6}(?:[ \t].*)?$"  # "#1 is the roof" is text
BLOCK = re.compile(rf"(?m)(?P<heading>^{HEADING})|[^\n]+(?:\n(?!\s*\n|{HEADING})[^\n]+)*")
MONTHS = (
    "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
)  # fmt: skip
STOPWORDS = frozenset(
    """a about above after again against ago all almost along already also although always am among an and another any
    anyone anything are around as at away back be became because become been before began behind being below between
    both but by came can cannot come could did do does doing done down during each either else enough even ever every
    everyone everything few first for from gave get gets getting give given go goes going gone got had half has have
    having he her here hers herself him himself his how however i if in instead into is it its itself just keep kept
    knew know last later least less let like little long made make makes making many may me might mine more most much
    must my myself near nearly never next no nobody none nor not nothing now of off often on once one only onto or other
    others our ours out over own perhaps put quite rather really said same saw say says see seem seemed several shall
    she should since so some someone something soon still such take taken than that the their them themselves then there
    these they thing things this those though through till to today together told tomorrow too took toward towards
    under until up upon us very want wanted was we well went were what when where whether which while who whole whom
    whose why will with within without would yes yesterday yet you your yours""".split()  # noqa: SIM905
)


def normalize(text: str) -> str:
    """Reduce to comparable words: lower case, no apostrophes, every other sign a blank.

    >>> normalize("Ilse\u2019s plum-jam, 14 pounds!")
    'ilses plum jam 14 pounds'
    """
    folded = unicodedata.normalize("NFKC", text).lower().replace("'", "").replace("\u2019", "")
    return " ".join(re.findall(r"[^\W_]+", re.sub(r"(?<=\d)[,](?=\d)", "", folded)))


def without_owner(text: str) -> str:
    """The text without possessive endings, so that "Ilse's" is about Ilse.

    >>> without_owner("Ilse's pears")
    'Ilse pears'
    """
    return re.sub(r"(?<=\w)['\u2019]s\b", "", text)


def contains(normalized_text: str, phrase: str) -> bool:
    """Whether a phrase occurs as whole words in a text that went through `normalize`."""
    return f" {normalize(phrase)} " in f" {normalized_text} "


def words(text: str) -> list[str]:
    """Words in order, in lower case."""
    return [word.lower() for word in WORD.findall(text)]


def joined(texts: Iterable[str]) -> str:
    """The texts one after the other, each once and without blank ones.

    >>> joined(["a ferry", "", "in Oban", "a ferry"])
    'a ferry in Oban'
    """
    return " ".join(dict.fromkeys(text for text in texts if text))


def content_words(text: str) -> set[str]:
    """Normalised words that carry meaning: no stop words, nothing of a single letter."""
    return {word for word in normalize(text).split() if word not in STOPWORDS and len(word) > 1}


def sentence_spans(text: str) -> list[tuple[int, int]]:
    """Character spans of the sentences, blanks around them left out; Markdown headings are not sentences."""
    import sentencex

    spans = []
    for line in BLOCK.finditer(text):
        if line["heading"] is not None:
            continue
        block = line.group()
        for found in sentencex.get_sentence_boundaries("en", block):
            start, end = line.start() + found["start_index"], line.start() + found["end_index"]
            while start < end and text[start].isspace():
                start += 1
            while end > start and text[end - 1].isspace():
                end -= 1
            if start < end:
                spans.append((start, end))
    return spans


def sentences(text: str) -> list[str]:
    """The sentences of a text, in order."""
    return [" ".join(text[start:end].split()) for start, end in sentence_spans(text)]


def numbers(text: str) -> set[str]:
    """Numbers written with digits, thousands separators removed.

    >>> sorted(numbers("1,200 euros at 9:30, twice"))
    ['1200', '9:30']
    """
    return {found.replace(",", "") for found in NUMBER.findall(text)}


def names(text: str) -> set[str]:
    """Capitalised words that do not merely start a sentence; runs of them count as one name.

    >>> sorted(names("The boat sank. Then Ilse Brandt met Tomas in April."))
    ['April', 'Ilse Brandt', 'Tomas']
    """
    found = set()
    for sentence in sentences(text):
        tokens = list(WORD.finditer(sentence))
        run: list[str] = []
        end = 0
        for position, token in enumerate(tokens):
            word = re.sub(r"['\u2019]s$", "", token.group())
            proper = word[0].isupper() and word.lower() not in STOPWORDS and (position > 0 or len(tokens) == 1)
            joined = run and sentence[end : token.start()].strip() == ""
            if run and not (proper and joined):
                found.add(" ".join(run))
                run = []
            if proper:
                run.append(word)
                end = token.end()
                if token.group() != word:  # a possessive ends the name
                    found.add(" ".join(run))
                    run = []
        if run:
            found.add(" ".join(run))
    return found


def date_of(text: str) -> str:
    """First ISO date in a text (a file name, a title), "" where there is none.

    >>> date_of("notes/2025-03-09.md"), date_of("2025-13-40"), date_of("9 March 2025: rain")
    ('2025-03-09', '', '2025-03-09')
    """
    for year, month, day in re.findall(r"(?<!\d)(\d{4})-(\d{2})-(\d{2})(?!\d)", text):
        try:
            return date(int(year), int(month), int(day)).isoformat()
        except ValueError:
            continue
    for day, month, year in re.findall(rf"\b(\d{{1,2}}) ({'|'.join(MONTHS)}) (\d{{4}})\b", text):
        try:
            return date(int(year), MONTHS.index(month) + 1, int(day)).isoformat()
        except ValueError:
            continue
    return ""


def spoken_date(iso: str) -> str:
    """A date as one says it: "2025-03-09" becomes "9 March 2025"; "" stays "".

    >>> spoken_date("2025-03-09")
    '9 March 2025'
    """
    if not iso:
        return ""
    year, month, day = iso.split("-")
    return f"{int(day)} {MONTHS[int(month) - 1]} {year}"
