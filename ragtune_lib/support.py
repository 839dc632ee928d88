"""Does the corpus back what an answer says, and does an answer say anything at all?"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from itertools import pairwise

from ragtune_lib.records import Answer, Chunk, Problem
from ragtune_lib.text import (
    MONTHS,
    STOPWORDS,
    contains,
    content_words,
    names,
    normalize,
    numbers,
    sentences,
    without_owner,
)

SHARE = 0.6  # of an answer sentence's content words that a window of the source must hold
REFUSAL = "The documents do not say."  # the right answer where they do not
CUT_THOUGHT = re.compile(r"\A\s*(?:<think>(?!.*</think>)|##Reason:(?!.*##Answer:))", re.DOTALL)

_MONTH = "|".join(MONTHS)
DATE = re.compile(
    rf"\b(?P<iso>\d{{4}}-\d{{2}}-\d{{2}})\b"
    rf"|(?:\b(?P<day>\d{{1,2}})(?:st|nd|rd|th)?(?: of)? )?\b(?P<month>{_MONTH})\b"
    rf"(?: (?P<day_after>\d{{1,2}})(?:st|nd|rd|th)?\b)?(?:,? (?P<year>\d{{4}})\b)?"
)

WEEKDAY = re.compile(r"\b((?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day)\b")  # "Sunday Ilse" is not a name

_SOURCE = (
    r"(?:journal|diary|text|context|documents?|passages?|entry|entries|notes?|corpus|sources?|articles?|material|"
    r"records?|files?|transcripts?)"
)
_TELLS = (
    r"(?:say|mention|specify|provide|contain|state|include|give|tell|record|indicate|name|describe|reveal|explain|note)"
)
_OPENING = r"^(?:(?:i am )?(?:very )?sorry,? (?:but )?|unfortunately,? |as an ai[^,]*, |i am an ai[^,.]*[,.] )*"
_OF_SOURCE = rf"(?: (?:in|from|by|within)(?: \w+){{0,3}}? {_SOURCE}\b)"
ABSTENTIONS = tuple(
    re.compile(pattern)
    for pattern in (
        # "The journal does not say ...", "These entries do not mention ...", "It does not say."
        rf"\b{_SOURCE}(?: \w+){{0,3}}? (?:do|does|did) not (?:\w+ ){{0,2}}?{_TELLS}\b",
        r"^it (?:does|did) not (?:mention|specify|say)\b(?! \w+bye)",
        # "I don't know ...", "I cannot find ...", "I have no information ..."; at the start: a journal says so too
        rf"{_OPENING}i (?:do not know|do not remember|am not sure|am not aware|am not certain|have no idea)\b",
        rf"{_OPENING}i (?:can not|could not|am unable to|am not able to|was unable to) "
        r"(?:answer|find|determine|tell|say|provide|recall|locate|confirm)\b",
        rf"{_OPENING}i (?:do not have|have no|found no|find no|do not find|see no)(?: \w+){{0,2}}? "
        r"(?:information|records?|memory|entry|entries|data|knowledge|details?|access|mention|answer)\b",
        # "It is not mentioned.", "The price was never stated in the journal."
        r"\b(?:is|are|was|were|been) (?:not|never)(?: \w+)? (?:mentioned|specified|stated|recorded|disclosed)"
        r"(?=$|[.,;!]| (?:in|by|anywhere|here)\b)",
        r"\b(?:is|are|was|were|been) (?:not|never)(?: \w+)? "
        rf"(?:given|found|known|available|provided|described|included|said|told|noted){_OF_SOURCE}",
        r"\b(?:information|answer|details?)\b[^.]*? (?:is|are|was|were) (?:not|never)(?: \w+)? "
        r"(?:given|found|known|available|provided|described|included)\b",
        # "There is no information ...", "The text gives no details ...", "No mention of ..."
        r"^(?:there (?:is|are|was|were) "
        rf"|.{{0,40}}\b{_SOURCE} (?:\w+ )?(?:gives?|has|have|contains?|provides?|makes?) )?"
        r"no (?:\w+ )?(?:information|mention|records?|details?|indication|evidence)\b",
        r"^nothing (?:is|was) (?:said|mentioned|recorded|written)\b",
        rf"^(?:nothing|no one|nobody|none)\b(?: \w+){{0,2}}? {_SOURCE} (?:says|mentions|tells|states|records)\b",
        # "This cannot be answered ...", "The answer cannot be found ..."
        r"\bcan not be (?:answered|determined|inferred|known|established)\b",
        rf"\b(?:can|could) not be found{_OF_SOURCE}",
        r"\b(?:information|answer)\b[^.]*? (?:can|could) not be found\b",
        # "Not mentioned.", "Unknown."
        r"^(?:not (?:mentioned|stated|specified|known|available|given|recorded|provided)|unknown|n/?a)\b",
    )
)


def is_cut_thought(text: str) -> bool:
    r"""Whether a text is a thought alone, since the limit of tokens came before the answer that should follow it.

    Thoughts are marked as `training_set.target_text` marks them in the forms "think" and "raft", and as reasoning
    models do. A thought without marks cannot be told from an answer.

    >>> is_cut_thought("<think>\nIlse sold jam, and"), is_cut_thought("<think>\nJam.\n</think>\n\nPlum jam.")
    (True, False)
    """
    return bool(CUT_THOUGHT.match(text))


def without_cut_thoughts(answers: Sequence[Answer]) -> tuple[list[Answer], list[Problem]]:
    """Answers, blank where all that was said is a thought: a fact in a thought is no answer that states it.

    Returns:
        As many answers, tokens and seconds as they were; and a Problem with what was said for each that is blank now.
    """
    cut = [answer for answer in answers if is_cut_thought(answer.text)]
    reason = "the thought was cut off before an answer: raise max_new_tokens"
    problems = [Problem("06_answer", f"{one.question_id} {one.system}", reason, one.text) for one in cut]
    return [replace(one, text="") if is_cut_thought(one.text) else one for one in answers], problems


def abstains(text: str) -> bool:
    """Whether an answer declines to answer, judged by its first sentence.

    "The journal does not say", "I don't know", "It is not mentioned", "There is no information about ..." and their
    like. What someone in the corpus did not say, know or find ("Ilse did not say goodbye") is no abstention: the
    subject has to be the source, the answering voice, or the answer itself.
    """
    found = sentences(text)
    if not found:
        return False
    first = found[0].lower().replace("\u2019", "'")
    for short, full in (("can't", "can not"), ("cannot", "can not"), ("n't", " not"), ("i'm ", "i am ")):
        first = first.replace(short, full)
    first = re.sub(r"\bthere's\b", "there is", first)
    return any(pattern.search(first) for pattern in ABSTENTIONS)


def without_dates(text: str) -> str:
    """The text with every date and month name cut out, so that "9 March" does not pass for the number 9.

    >>> without_dates("On 9 March 2025 we paid 9 pounds.")
    'On , we paid 9 pounds.'
    """
    return DATE.sub(",", text)


@dataclass(frozen=True, slots=True)
class _Source:
    """One document, as far as the chunks hold it, prepared for look-ups."""

    date: str  # ISO, or ""
    text: str  # normalised, with the weekday and the year of its date
    numbers: frozenset[str]


class Corpus:
    """The source sentences of the chunks, indexed by word, to ask which sentences of an answer they back.

    A sentence of an answer is backed when, in one document,

    1. some window, that is two neighbouring sentences of a chunk, holds at least 60 % of its content words
       (`text.content_words`, dates left out), and
    2. each of its numbers and names occurs. Dates count as the document's date, or as written in the text; the year
       and the weekday of that date count too. A name of several words counts when the corpus has it as a whole and
       the document at least one of its words.

    The first word of a sentence is capitalised anyway; it is checked as a name when the corpus knows it as one.

    This is a strict reading: a sentence that sums up several documents is backed by none of them, so the measure
    favours answers that say one thing at a time. It is comparable between systems, not a share of true sentences.
    """

    def __init__(self, chunks: Sequence[Chunk]):
        self.sources: dict[str, _Source] = {}
        self.postings: defaultdict[str, list[int]] = defaultdict(list)  # word -> windows that hold it
        self.owners: list[str] = []  # window -> document id
        texts: defaultdict[str, list[Chunk]] = defaultdict(list)
        for chunk in chunks:
            texts[chunk.document_id].append(chunk)
            self._add_windows(chunk)
        for document_id, parts in texts.items():
            self.sources[document_id] = _source(parts)
        self.text = " | ".join(source.text for source in self.sources.values())
        self.known_names = _single_names(chunks)

    def _add_windows(self, chunk: Chunk) -> None:
        bags = [content_words(without_owner(sentence)) for sentence in sentences(chunk.text)]
        for window in [first | second for first, second in pairwise(bags)] or bags:
            for word in sorted(window):
                self.postings[word].append(len(self.owners))
            self.owners.append(chunk.document_id)

    def share_backed(self, answer: str) -> float:
        """Share of the answer's sentences that the corpus backs, in [0, 1].

        Sentences that only abstain, and those without any content word, name or number ("Yes."), are left out; when
        nothing is left, the answer says nothing that could be backed and the share is 0.
        """
        claims = [sentence for sentence in sentences(answer) if self._claims(sentence)]
        return sum(map(self.backs, claims)) / len(claims) if claims else 0.0

    def _claims(self, sentence: str) -> bool:
        return not abstains(sentence) and bool(content_words(sentence) or numbers(sentence))

    def backs(self, sentence: str) -> bool:
        """Whether some document backs the sentence (rule: see the class)."""
        return any(self._agrees(document_id, sentence) for document_id in self._candidates(sentence))

    def _candidates(self, sentence: str) -> list[str]:
        """Documents with a window that holds enough of the sentence's words; all when it has only dates and numbers."""
        wanted = content_words(without_owner(without_dates(sentence)))
        if not wanted:
            return sorted(self.sources)
        hits = Counter(window for word in wanted for window in self.postings.get(word, ()))
        enough = SHARE * len(wanted) - 1e-9
        return sorted({self.owners[window] for window, count in hits.items() if count >= enough})

    def _agrees(self, document_id: str, sentence: str) -> bool:
        source = self.sources[document_id]
        if not all(_same_date(match, source) for match in DATE.finditer(sentence)):
            return False
        rest = without_dates(sentence)
        return numbers(rest) <= source.numbers and all(self._named(name, source) for name in self._names(rest))

    def _names(self, sentence: str) -> set[str]:
        first = re.match(r"\W*([^\W_]+)", sentence)
        if first and first.group(1) in self.known_names:
            sentence = f"so {sentence}"  # no longer the first word, so read as part of a name
        return names(WEEKDAY.sub(r"\1,", sentence))

    def _named(self, name: str, source: _Source) -> bool:
        if contains(source.text, name):
            return True
        return contains(self.text, name) and any(contains(source.text, word) for word in name.split())


def _source(parts: Sequence[Chunk]) -> _Source:
    raw = "\n".join(part.text for part in parts)
    iso = parts[0].date
    spoken = f" {date.fromisoformat(iso):%A} {iso[:4]}" if iso else ""
    found = numbers(without_dates(raw)) | numbers(spoken)
    return _Source(date=iso, text=normalize(without_owner(raw) + spoken), numbers=frozenset(found))


def _same_date(match: re.Match[str], source: _Source) -> bool:
    """Whether a date in an answer is the document's own date, or stands in its text."""
    if contains(source.text, match.group()):
        return True
    if not source.date:
        return False
    if match["iso"]:
        return match["iso"] == source.date
    year, month, day = source.date.split("-")
    said_day = match["day"] or match["day_after"]
    return (
        MONTHS.index(match["month"]) + 1 == int(month)
        and (not said_day or int(said_day) == int(day))
        and (not match["year"] or match["year"] == year)
    )


def _single_names(chunks: Sequence[Chunk]) -> set[str]:
    """Words that the corpus writes as names and never in lower case, so a first word can be told to be one."""
    lower = {word for chunk in chunks for word in re.findall(r"[^\W_]+", chunk.text) if word.islower()}
    found = {word for chunk in chunks for name in names(chunk.text) for word in name.split()}
    return {word for word in found if word.lower() not in lower | STOPWORDS}
