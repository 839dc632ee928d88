"""What became of each entity: the training pairs that were made from it, those kept, the facts that the model recalls.

A pair does not say which entity it was made from. It is counted for an entity when it rests on one of the entity's
chunks and names the entity; a held-out question when it or its answer names it.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from ragtune_lib.records import Answer, Entity, QAPair, Question
from ragtune_lib.store import read_records
from ragtune_lib.text import contains, normalize

TUNED = "rag_tuned"  # whose recall is counted: from memory alone


class Coverage:
    """Pairs by the chunks they rest on, and how to count them.

    Args:
        pairs: all that were made.
        kept: ids of those to train on.
        states: what a person decided about each pair; pairs without an entry are undecided.
    """

    def __init__(self, pairs: Iterable[QAPair], kept: Collection[str] = (), states: dict[str, str] | None = None):
        self.kept, self.states = frozenset(kept), states or {}
        self._by_chunk: dict[str, list[QAPair]] = defaultdict(list)
        self._texts: dict[str, str] = {}
        for pair in pairs:
            for chunk_id in dict.fromkeys(pair.evidence_ids):
                self._by_chunk[chunk_id].append(pair)

    def about(self, entity: Entity) -> list[QAPair]:
        """The pairs about an entity, each once, in the order of its chunks."""
        name = f" {normalize(entity.name)} "
        if not name.strip():
            return []
        nearby = {pair.id: pair for chunk_id in entity.chunk_ids for pair in self._by_chunk.get(chunk_id, ())}
        return [pair for pair in nearby.values() if name in self._text(pair)]

    def counts(self, entities: Iterable[Entity]) -> dict[str, dict[str, int]]:
        """Number of pairs made and pairs kept for each entity, by these two names; entities without any have 0."""
        made: dict[str, int] = {}
        kept: dict[str, int] = {}
        for entity in entities:
            found = self.about(entity)
            made[entity.id] = len(found)
            kept[entity.id] = sum(pair.id in self.kept for pair in found)
        return {"pairs made": made, "pairs kept": kept}

    def _text(self, pair: QAPair) -> str:
        if pair.id not in self._texts:
            self._texts[pair.id] = f" {normalize(f'{pair.question} {pair.reasoning} {pair.answer}')} "
        return self._texts[pair.id]


def facts_recalled(
    entities: Sequence[Entity], questions: Iterable[Question], answers: Iterable[Answer], system: str = TUNED
) -> dict[str, int]:
    """Number of facts about each entity that a system stated in answer to held-out questions.

    Args:
        entities: all of the graph.
        questions: held out, with their facts.
        answers: of all systems; the last one to each question counts.
        system: whose.
    """
    from ragtune_lib.score import fact_recall

    said = {answer.question_id: answer.text for answer in answers if answer.system == system}
    counts: Counter[str] = Counter()
    for question in questions:
        if question.facts and question.id in said:
            stated = round(fact_recall(said[question.id], question.facts) * len(question.facts))
            text = normalize(f"{question.question} {question.answer}")
            if stated:
                counts.update({entity.id: stated for entity in entities if contains(text, entity.name)})
    return {entity.id: counts[entity.id] for entity in entities}


def read_coverage(folder: Path) -> Coverage | None:
    """The pairs of a run with their decisions, None as long as none were made.

    Raises:
        ValueError: if a file of pairs is damaged.
    """
    from ragtune_lib.curate import Curation

    if not (folder / "pairs.jsonl").is_file():
        return None
    pairs = read_records(folder / "pairs.jsonl", QAPair)
    curation = Curation(folder, pairs, [])
    kept = read_records(folder / "kept.jsonl", QAPair) if (folder / "kept.jsonl").is_file() else []
    return Coverage(pairs, {pair.id for pair in kept}, {pair.id: curation.state(pair.id) for pair in pairs})


def read_facts_recalled(folder: Path, entities: Sequence[Entity]) -> dict[str, int] | None:
    """`facts_recalled` of a run, None as long as its questions were not answered."""
    if not ((folder / "questions.jsonl").is_file() and (folder / "answers.jsonl").is_file()):
        return None
    questions = read_records(folder / "questions.jsonl", Question)
    return facts_recalled(entities, questions, read_records(folder / "answers.jsonl", Answer))
