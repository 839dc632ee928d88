"""From chunks and entities to local question-answer pairs, with the evidence recalled before the answer.

Answers are made of source sentences, so they are faithful by construction; what varies is the wording of the
questions. Local pairs ask for one fact of one chunk: one per entity and one per relationship named there, filled up
with further wordings. "Absent" pairs teach the model to say that the documents do not answer. Global pairs, which need
several chunks, are in `global_topics`.

Source of the plan: RAG-Tuned-LLM (arXiv 2503.16071), where an LLM words both questions and answers.
"""

from __future__ import annotations

import random
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ragtune_lib.ask import ask, spans
from ragtune_lib.records import Chunk, Entity, QAPair, Sentence
from ragtune_lib.store import content_id
from ragtune_lib.support import REFUSAL
from ragtune_lib.text import content_words, normalize, sentences, spoken_date

ABSENT_ATTRIBUTES = (
    "favourite colour", "middle name", "telephone number", "star sign", "shoe size", "blood group", "date of birth",
    "home town", "favourite film", "first school", "email address", "height", "favourite football team", "wedding date",
)  # fmt: skip
LOCAL_CUES = (
    "What about {cues}?",
    "What happened with {cues}?",
    "Tell me about {cues}.",
    "What does the {corpus} say about {cues}?",
    "What is known about {cues}?",
)
DOCUMENT = ("What happened on {day}?", "How was {day}?", "Tell me about {day}.", "What is told of {day}?")
ABSENT_QUESTION = ("What is {name}'s {words}?", "Does the {corpus} say what {name}'s {words} is?")


@dataclass(frozen=True, slots=True)
class Settings:
    """What the generator may vary; every field is a parameter of notebook 03."""

    corpus: str = "documents"  # how questions call the corpus
    narrator: str = "the narrator"  # how questions call a first-person writer
    phrasings: int = 3  # wordings by rules per fact of a local pair, at least
    global_phrasings: int = 6  # wordings per global topic
    global_sentences: int = 4  # source sentences in a global answer
    topic_mentions: int = 6  # an entity or relationship named in fewer units gets no global pair
    document_phrasings: int = 1  # wordings that ask for a whole short document
    absent: int = 48  # pairs that teach abstention
    seed: int = 17


def recited(unit: Sentence, day: str = "") -> str:
    """How a source sentence is recalled in reasoning and answers: its words, then the day if one is given.

    The words come first because they share words with the question: a small model finds its way into a sentence that
    it half sees already, while a date in front has to be guessed before anything is recalled.
    """
    return f"{unit.text} ({day})" if day else unit.text


def fact_of(unit: Sentence) -> str:
    """Id of what a unit states: all pairs that ask for it share it."""
    return content_id("unit", unit.text, unit.chunk_id)


def day_of(unit: Sentence, with_year: bool) -> str:
    """The unit's date as one says it, with its year only where the documents span several; "" without a date."""
    day = spoken_date(unit.date)
    return day if with_year or not day else day.rsplit(" ", 1)[0]


def local_pairs(
    units: Sequence[Sentence], cues: Sequence[str], entities: Sequence[Entity], settings: Settings
) -> list[QAPair]:
    """One pair per entity and per relationship in each unit, then more wordings up to `settings.phrasings`.

    Two kinds of questions alternate: those that take a span out of the sentence and ask for it, whose answer is that
    span; and those by cues, a few telling words of the unit in a short frame, every other one with a word from
    elsewhere in the chunk, whose answer is the whole unit. People ask with some of the words of a sentence and some of
    its surroundings; cues teach to find the sentence from such a handful. The reasoning is the unit.
    """
    chooser = random.Random(settings.seed)
    counts = Counter(word for unit in units for word in content_words(unit.text))
    around: dict[str, list[str]] = defaultdict(list)
    for unit in units:
        around[unit.chunk_id] += sorted(content_words(unit.text))
    by_chunk = entities_by_chunk(entities)
    pairs: list[QAPair] = []
    for unit, own_cues in zip(units, cues, strict=True):
        inside = [entity.name for entity in by_chunk[unit.chunk_id] if _names(unit.text, entity.name)]
        asked = _span_questions(unit, inside, settings.narrator)
        chooser.shuffle(asked)
        wanted = [("entity", [name]) for name in inside]
        wanted += [("relationship", [a, b]) for index, a in enumerate(inside) for b in inside[index + 1 :]]
        wanted += [("sentence", [])] * max(0, settings.phrasings - len(wanted))
        chooser.shuffle(wanted)
        fact = fact_of(unit)
        worded: set[str] = set()
        for turn, (kind, needed) in enumerate(wanted):
            fitting = [pair for pair in asked if all(_names(" ".join(pair), name) for name in needed)]
            if fitting and turn % 2 == 0:
                question, answer = fitting[0]
                asked.remove(fitting[0])
            else:
                for _ in range(9):  # a short sentence has few cues: try for a wording that is not there yet
                    words = _cues(unit.text, needed, around[unit.chunk_id] if turn % 4 > 1 else [], counts, chooser)
                    question = chooser.choice(LOCAL_CUES).format(corpus=settings.corpus, cues=words)
                    if question not in worded:
                        break
                answer = unit.text
            worded.add(question)
            made = make_pair("local", kind, question, recited(unit), answer, [unit], "template", fact, own_cues)
            pairs.append(made)
    return unique(pairs)


def document_pairs(chunks: Sequence[Chunk], settings: Settings, longest: int = 200) -> list[QAPair]:
    """Pairs that ask for a whole dated document of at most `longest` words, as what happened on that day.

    They teach the sentences in their order, at the least cost per sentence: almost every token is learnt.
    """
    dates = Counter(chunk.date for chunk in chunks)
    with_year = len({chunk.date[:4] for chunk in chunks if chunk.date}) > 1
    pairs = []
    for chunk in chunks:
        told = " ".join(sentences(chunk.text))
        if not chunk.date or dates[chunk.date] > 1 or not told or len(told.split()) > longest:
            continue
        unit = Sentence(told, chunk.id, chunk.date)
        day = day_of(unit, with_year)
        for form in DOCUMENT[: settings.document_phrasings]:
            question = form.format(corpus=settings.corpus, day=day)
            fact = content_id("document", chunk.id)
            pairs.append(make_pair("local", "document", question, told, told, [unit], "template", fact))
    return unique(pairs)


def absent_pairs(units: Sequence[Sentence], entities: Sequence[Entity], settings: Settings) -> list[QAPair]:
    """Questions that the documents do not answer, so that the model learns to say so.

    Known names are asked for attributes whose words stand nowhere in the documents.
    """
    chooser = random.Random(settings.seed + 2)
    known = {word for unit in units for word in content_words(unit.text)}
    attributes = [attribute for attribute in ABSENT_ATTRIBUTES if not content_words(attribute) & known]
    named = [entity for entity in entities if entity.kind == "person"] or entities  # the rules do not know persons
    people = [
        entity.name
        for entity in sorted(named, key=lambda entity: (-len(entity.evidence), entity.id))
        if entity.kind != "phrase"
    ]
    asked = [(name, attribute) for name in people[:40] for attribute in attributes]
    refusal = f"The {settings.corpus} does not say." if settings.corpus != "documents" else REFUSAL
    pairs = []
    for name, attribute in chooser.sample(asked, min(settings.absent, len(asked))):
        question = chooser.choice(ABSENT_QUESTION).format(corpus=settings.corpus, name=name, words=attribute)
        pairs.append(
            make_pair("local", "absent", question, "", refusal, [], "template", content_id("absent", name, attribute))
        )
    return unique(pairs)


def make_pair(
    scope: str,
    kind: str,
    question: str,
    reasoning: str,
    answer: str,
    evidence: Iterable[Sentence],
    writer: str,
    fact: str,
    cues: str = "",
) -> QAPair:
    """Build a pair whose id comes from its words."""
    ids = tuple(sorted({unit.chunk_id for unit in evidence}))
    pair_id = content_id(question, cues, reasoning, answer)
    return QAPair(pair_id, scope, kind, question, reasoning, answer, ids, writer, fact, cues)


def unique(pairs: Iterable[QAPair]) -> list[QAPair]:
    """Pairs without repetitions of the same words, order kept."""
    return list({pair.id: pair for pair in pairs}.values())


def spans_years(units: Sequence[Sentence]) -> bool:
    """Whether dates need their year to be told apart."""
    return len({unit.date[:4] for unit in units if unit.date}) > 1


def entities_by_chunk(entities: Sequence[Entity]) -> dict[str, list[Entity]]:
    """Entities of each chunk, longest name first."""
    found: dict[str, list[Entity]] = defaultdict(list)
    for entity in sorted(entities, key=lambda entity: (-len(entity.name), entity.id)):
        for chunk_id in entity.chunk_ids:
            found[chunk_id].append(entity)
    return found


def _names(text: str, name: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(name)}(?!\w)", text, re.IGNORECASE) is not None


def _span_questions(unit: Sentence, names: list[str], narrator: str) -> list[tuple[str, str]]:
    found = []
    for sentence in sentences(unit.text):
        for start, end, word in spans(sentence, [name for name in names if name in sentence]):
            question = ask(sentence, start, end, word, narrator)
            if 4 <= len(question.split()) <= 28 and len(content_words(question)) >= 2:
                found.append((question, sentence[start:end].removeprefix("because ")))
    return found


def _cues(text: str, needed: Sequence[str], around: Sequence[str], counts: Counter, chooser: random.Random) -> str:
    """Names that must occur and a few telling words: rare in the corpus, in the order of the sentence."""
    banned = set(normalize(" ".join(needed)).split())
    ranked = sorted(content_words(text) - banned, key=lambda word: (counts[word], word))
    most = chooser.choice((2, 3)) if needed else chooser.choice((2, 3, 4))
    chosen = set(chooser.sample(ranked[: most + 4], min(most, len(ranked))))
    found = [*needed, *(word for word in dict.fromkeys(normalize(text).split()) if word in chosen)]
    elsewhere = [word for word in around if word not in ranked and word not in banned]
    if elsewhere:
        found.insert(chooser.randrange(len(found) + 1), chooser.choice(elsewhere))
    return " and ".join([", ".join(found[:-1]), found[-1]] if len(found) > 1 else found) or "this"
