"""From graph and chunks to question-answer pairs, local and global, with the evidence recalled before the answer.

Answers are made of source sentences, so they are faithful by construction; what varies is the wording of the
questions. Local pairs ask for one fact of one chunk: one per entity and one per relationship named there, filled up
with further wordings. Global pairs need several chunks: an entity, a relationship, a community, a theme, a month or a
season, and how something changed. "Absent" pairs teach the model to say that the documents do not answer.

Source of the plan: RAG-Tuned-LLM (arXiv 2503.16071), where an LLM words both questions and answers.
"""

from __future__ import annotations

import random
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from ragtune_lib.ask import ask, spans
from ragtune_lib.records import Chunk, Community, Entity, QAPair, Relationship, Sentence
from ragtune_lib.store import content_id
from ragtune_lib.support import REFUSAL
from ragtune_lib.text import MONTHS, content_words, normalize, sentences, spoken_date

MONTH_GROUPS = {"winter": (12, 1, 2), "spring": (3, 4, 5), "summer": (6, 7, 8), "autumn": (9, 10, 11)}
THEMES = (
    "money, costs and savings", "health, illness and injury", "moods and feelings", "food and meals", "work, the job",
    "plans that failed or were given up", "mistakes and corrections", "friendship", "family", "neighbours and quarrels",
    "animals", "home and housing", "travel and journeys", "music and celebrations", "repairs and things that broke",
    "good news and successes", "losses and goodbyes", "learning something new",
)  # fmt: skip
ABSENT_ATTRIBUTES = (
    "favourite colour", "middle name", "telephone number", "star sign", "shoe size", "blood group", "date of birth",
    "home town", "favourite film", "first school", "email address", "height", "favourite football team", "wedding date",
)  # fmt: skip
LOCAL_WHEN = ("When was it: {cues}?", "When does the {corpus} speak of {cues}?", "On which day was it: {cues}?")
LOCAL_CUES = (
    "What about {cues}?",
    "What happened with {cues}?",
    "Tell me about {cues}.",
    "What does the {corpus} say about {cues}?",
    "What is known about {cues}?",
)
# many frames, for a model has to tell a wide question from a narrow one by its sense
GLOBAL_ENTITY = (
    "What does the {corpus} tell about {name} as a whole?",
    "Who or what is {name}, and why does {name} matter?",
    "Describe the part that {name} plays over the whole time.",
    "What are the main things that happened with {name}?",
    "Looking back, what stands out about {name}?",
    "Which moments show what {name} is like?",
    "What did {name} mean to {narrator}, and why?",
    "In which ways does {name} come up again and again?",
    "Give an overview of {name}.",
    "What role did {name} play throughout?",
)
GLOBAL_CHANGE = (
    "How did things change with {name} over time?",
    "How did the story of {name} go from beginning to end?",
    "Compare the first and the last mentions of {name}.",
    "How did matters with {name} develop from month to month?",
    "What became of {name} in the end, and by which steps?",
    "How was {name} at first, and how later?",
    "Trace the ups and downs of {name}.",
    "What turned out differently with {name} than it began?",
)
GLOBAL_RELATIONSHIP = (
    "How are {a} and {b} connected?",
    "What is the story of {a} and {b}?",
    "How did {a} and {b} get on over time?",
    "What did {a} and {b} have to do with each other?",
    "Which events link {a} with {b}?",
    "How did {a} matter to {b}, and {b} to {a}?",
)
GLOBAL_COMMUNITY = (
    "What story do {names} belong to?",
    "What ties {names} together?",
    "Tell the story in which {names} appear.",
    "How do {names} belong together?",
    "What happened around {names}?",
    "Which episodes bring {names} together?",
)
GLOBAL_THEME = (
    "What does the {corpus} say about {name} overall?",
    "Which events have to do with {name}?",
    "What role do {name} play?",
    "Looking at the whole time, what was there of {name}?",
    "Which examples of {name} does the {corpus} have?",
    "How did it go with {name} through the seasons?",
    "List what there was of {name}.",
    "What patterns are there in {name}?",
)
GLOBAL_PERIOD = (
    "What happened in {name}?",
    "What was {name} like?",
    "Sum up {name}.",
    "What occupied {narrator} in {name}?",
    "Which things marked {name}?",
    "What changed in {name}?",
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


def recall(unit: Sentence, day: str = "") -> str:
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
    elsewhere in the chunk, whose answer is the whole unit; one wording asks for the day. People ask with some of the
    words of a sentence and some of its surroundings; cues teach to find the sentence from such a handful. The
    reasoning is the unit.
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
            made = make_pair("local", kind, question, recall(unit), answer, [unit], "template", fact, own_cues)
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


def global_pairs(
    units: Sequence[Sentence],
    cues: Sequence[str],
    entities: Sequence[Entity],
    relationships: Sequence[Relationship],
    communities: Sequence[Community],
    embed: Callable,
    settings: Settings,
) -> list[QAPair]:
    """Pairs that need several chunks, each topic in `settings.global_phrasings` wordings.

    The answer of a topic is up to `settings.global_sentences` units, spread over time and chosen for how central
    they are to the topic (cosine with the mean of the topic's units), in date order, one per line like their cues.
    """
    vectors = embed([unit.text for unit in units])
    mentions = mentions_of(units, entities)
    names = {entity.id: entity.name for entity in entities}
    topics: list[tuple[str, str, dict[str, str], Sequence[str], list[int]]] = []  # kind, key, fill, forms, units
    for entity in entities:
        found = mentions[entity.id]
        if len(found) >= settings.topic_mentions:
            topics.append(("entity", entity.id, {"name": entity.name}, GLOBAL_ENTITY, found))
        if len(found) >= settings.topic_mentions and len({units[position].date for position in found}) >= 3:
            topics.append(("change", entity.id, {"name": entity.name}, GLOBAL_CHANGE, found))
    for edge in relationships:
        found = sorted(set(mentions[edge.source]) & set(mentions[edge.target]))
        if len(found) >= settings.topic_mentions:
            fill = {"a": names[edge.source], "b": names[edge.target]}
            topics.append(("relationship", edge.id, fill, GLOBAL_RELATIONSHIP, found))
    for community in communities:
        found = sorted({position for member in community.entity_ids for position in mentions[member]})
        if len(found) >= settings.topic_mentions and len(community.entity_ids) >= 2:
            topics.append(("community", community.id, {"names": community.title}, GLOBAL_COMMUNITY, found))
    topics += [("period", name, {"name": name}, GLOBAL_PERIOD, found) for name, found in periods(units)]
    for theme, found in themes(units, vectors, embed, settings.global_sentences + 2):
        topics.append(("theme", theme, {"name": theme}, GLOBAL_THEME, found))
    chooser = random.Random(settings.seed + 1)
    with_year = spans_years(units)
    pairs = []
    for kind, key, fill, forms, found in topics:
        places = digest(found, vectors, settings.global_sentences)
        chosen = [units[position] for position in places]
        told = "\n".join(recall(unit, _month(unit, with_year) if kind == "change" else "") for unit in chosen)
        hints = "\n".join(cues[position] for position in places)
        for form in chooser.sample(forms, min(settings.global_phrasings, len(forms))):
            question = form.format(corpus=settings.corpus, narrator=settings.narrator, **fill)
            fact = content_id(kind, key)
            pairs.append(make_pair("global", kind, question, told, told, chosen, "template", fact, hints))
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


def mentions_of(units: Sequence[Sentence], entities: Sequence[Entity]) -> dict[str, list[int]]:
    """Positions of the units that hold an evidence sentence of each entity, in order."""
    by_chunk: dict[str, list[int]] = defaultdict(list)
    for position, unit in enumerate(units):
        by_chunk[unit.chunk_id].append(position)
    return {
        entity.id: sorted(
            {
                position
                for sentence in entity.evidence
                for position in by_chunk[sentence.chunk_id]
                if sentence.text in units[position].text
            }
        )
        for entity in entities
    }


def periods(units: Sequence[Sentence]) -> list[tuple[str, list[int]]]:
    """Months and seasons that hold dated units of at least two chunks, with their units."""
    groups: dict[str, list[int]] = defaultdict(list)
    for position, unit in enumerate(units):
        if unit.date:
            year, month = unit.date[:4], int(unit.date[5:7])
            groups[f"{MONTHS[month - 1]} {year}"].append(position)
            season = next(name for name, months in MONTH_GROUPS.items() if month in months)
            groups[f"the {season}"].append(position)
    return [(name, found) for name, found in groups.items() if len({units[at].chunk_id for at in found}) >= 2]


def themes(units: Sequence[Sentence], vectors: object, embed: Callable, count: int) -> list[tuple[str, list[int]]]:
    """The units nearest to each general theme (cosine of sentence embeddings)."""
    import numpy as np

    if not units:
        return []
    near = embed(list(THEMES)) @ np.asarray(vectors).T
    return [
        (theme, sorted(np.argsort(-row, kind="stable")[:count].tolist()))
        for theme, row in zip(THEMES, near, strict=True)
    ]


def digest(found: Sequence[int], vectors: object, count: int) -> list[int]:
    """Choose at most `count` of the units, spread over the whole stretch, each the most central of its part."""
    import numpy as np

    if len(found) <= count:
        return list(found)
    centre = np.asarray(vectors)[list(found)].mean(0)
    parts = np.array_split(np.asarray(found), count)
    return [int(max(part, key=lambda position: float(np.asarray(vectors)[position] @ centre))) for part in parts]


def _month(unit: Sentence, with_year: bool) -> str:
    month = spoken_date(unit.date).partition(" ")[2]
    return month if with_year else month.partition(" ")[0]


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
