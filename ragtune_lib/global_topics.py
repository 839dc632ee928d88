"""Global pairs: questions that need several chunks, answered by sentences spread over them.

A topic is an entity, a relationship or a community, how something changed, a general theme, a month or a season.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Sequence

from ragtune_lib.records import Community, Entity, QAPair, Relationship, Sentence
from ragtune_lib.store import content_id
from ragtune_lib.synthesize import Settings, make_pair, recited, spans_years, unique
from ragtune_lib.text import MONTHS, spoken_date

MONTH_GROUPS = {"winter": (12, 1, 2), "spring": (3, 4, 5), "summer": (6, 7, 8), "autumn": (9, 10, 11)}
THEMES = (
    "money, costs and savings", "health, illness and injury", "moods and feelings", "food and meals", "work, the job",
    "plans that failed or were given up", "mistakes and corrections", "friendship", "family", "neighbours and quarrels",
    "animals", "home and housing", "travel and journeys", "music and celebrations", "repairs and things that broke",
    "good news and successes", "losses and goodbyes", "learning something new",
)  # fmt: skip
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
        told = "\n".join(recited(unit, _month(unit, with_year) if kind == "change" else "") for unit in chosen)
        hints = "\n".join(cues[position] for position in places)
        for form in chooser.sample(forms, min(settings.global_phrasings, len(forms))):
            question = form.format(corpus=settings.corpus, narrator=settings.narrator, **fill)
            fact = content_id(kind, key)
            pairs.append(make_pair("global", kind, question, told, told, chosen, "template", fact, hints))
    return unique(pairs)


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
