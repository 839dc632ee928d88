"""What a teacher model will be asked for training pairs: counted before a call is made.

The six generators of RAG-Tuned-LLM (arXiv 2503.16071, as its public code has them), and one of our own:

| generator | scope | pairs | made by |
|---|---|---|---|
| entity_template | global | one per entity | a form question; the answer is the description |
| entity_cot | global | one per entity | one call: question, reasoning, answer over up to 30 chunks |
| relation_template | global | one per relationship | a form question; the answer is the description |
| relation_cot | global | one per relationship | one call, as for entities |
| local_entity | local | one per chunk and entity in it | two calls: thought and question; thought and answer |
| local_relation | local | one per chunk and relationship in it | two calls, likewise |
| community_cot | global | `community_questions` per community | one call over chunks of its members |

    N = 2 |E'| + 2 |R| + sum over chunks u of (|E_u| + |R_u|)  +  community_questions x |communities|

E' are the entities of the wanted types, E_u and R_u the entities and relationships that occur in u. N is an upper
limit: a model may be unable to ask, and what cannot be asked at all (a form without a description for its answer, no
chunk, a relationship with an unknown end) is a Problem.

Other than in the published code, the types asked for are those of the index (there a type is filtered for that is
never extracted, and two are lost), every pair keeps the ids of the chunks that its writer saw, and nothing fails
silently.
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

from ragtune_lib.records import Chunk, Community, Entity, Problem, QAPair, Relationship
from ragtune_lib.source_calls import spread
from ragtune_lib.store import content_id
from ragtune_lib.synthesize import make_pair
from ragtune_lib.teacher.question_templates import RELATION, entity_forms

STAGE = "03_synthesize"
GENERATORS = (  # of the paper
    "entity_template", "entity_cot", "relation_template", "relation_cot", "local_entity", "local_relation",
)  # fmt: skip
MEMBERS = 40  # names of a community that its writer is shown, those in most chunks first


@dataclass(frozen=True, slots=True)
class Generators:
    """Which pairs are wanted; each generator is a switch."""

    entity_template: bool = True
    entity_cot: bool = True
    relation_template: bool = True
    relation_cot: bool = True
    local_entity: bool = True
    local_relation: bool = True
    community_questions: int = 2  # per community of at least two members; 0 for none. Ours, not the paper's
    entity_types: tuple[str, ...] = ()  # of E', in any case; () for all
    context_chunks: int = 30  # most chunks before a question of global scope; the paper's figure
    words: int = 300  # most words of a global answer. The paper asks for at least 300: length for its own sake
    max_tokens: int = 2048  # of a reply with an answer; a forecast counts on all of them until it is calibrated
    question_tokens: int = 800  # of the first pass over a chunk
    temperature: float = 0.0
    seed: int = 17  # for the question forms, and as the number of the draw


def chosen_generators(names: str, **settings: object) -> Generators:
    """Settings from one string: the generators of the paper that it names are on, the others off.

    Args:
        names: separated by blanks or commas.
        **settings: other fields of `Generators`.

    Raises:
        ValueError: for a name that is none of the six.
    """
    asked = names.replace(",", " ").split()
    unknown = [name for name in asked if name not in GENERATORS]
    if unknown:
        raise ValueError(f"generator {unknown[0]!r} is unknown; known: {', '.join(GENERATORS)}")
    return Generators(**{name: name in asked for name in GENERATORS}, **settings)  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class Task:
    """One subject that a model is asked about."""

    kind: str  # the generator
    item: str  # for a Problem
    fact_id: str
    names: tuple[str, ...]  # that a global question has to hold; members, for a community
    type: str
    description: str
    chunk_ids: tuple[str, ...]  # what its writer sees, in reading order
    wanted: int = 1  # pairs


@dataclass(frozen=True, slots=True)
class Plan:
    """What is due: pairs that need no model, tasks that do, and what can be neither."""

    settings: Generators
    pairs: tuple[QAPair, ...]  # by templates
    tasks: tuple[Task, ...]
    problems: tuple[Problem, ...]
    chunks: dict[str, Chunk]
    planned: dict[str, int]  # pairs by generator; what is in `problems` included
    unmatched: tuple[str, ...]  # wanted types that no entity has

    @property
    def size(self) -> int:
        """N: pairs if no model is ever unable and nothing fails."""
        return sum(self.planned.values())

    def __str__(self) -> str:
        parts = " + ".join(f"{count:,} {kind}" for kind, count in self.planned.items() if count)
        calls = sum(2 if task.kind.startswith("local") else 1 for task in self.tasks)
        text = f"N = {parts or 0} = {self.size:,} pairs; {len(self.pairs):,} by templates, at most {calls:,} calls"
        if self.problems:
            text += f"; {len(self.problems):,} cannot be asked for"
        return text + (f"; no entity has the type {', '.join(self.unmatched)}" if self.unmatched else "")


def plan_synthesis(
    chunks: Sequence[Chunk],
    entities: Sequence[Entity],
    relationships: Sequence[Relationship],
    communities: Sequence[Community],
    settings: Generators,
) -> Plan:
    """List everything that the generators will do; nothing is asked.

    Args:
        chunks: the corpus in reading order.
        entities: of the index; `kind` is their type.
        relationships: of the index.
        communities: of the index, with title and summary.
        settings: which generators, and how.
    """
    order = {chunk.id: place for place, chunk in enumerate(chunks)}
    names = {entity.id: entity.name for entity in entities}
    wanted = {kind.strip().lower() for kind in settings.entity_types}
    chosen = [entity for entity in entities if not wanted or entity.kind.strip().lower() in wanted]
    subjects = [_entity_task(entity, order) for entity in chosen]
    links = [_relation_task(edge, names, order) for edge in relationships]
    tasks: list[Task] = []
    for prefix, group in (("entity", subjects), ("relation", links)):
        for way in ("template", "cot"):
            if getattr(settings, f"{prefix}_{way}"):
                named = [replace(task, kind=f"{prefix}_{way}") for task in group]
                # a template's answer is the whole description: all that it was made of is its evidence
                tasks += named if way == "template" else [_shown(task, settings.context_chunks) for task in named]
    if settings.local_entity:
        tasks += _local("local_entity", [_entity_task(entity, order) for entity in entities], chunks)
    if settings.local_relation:
        tasks += _local("local_relation", links, chunks)
    if settings.community_questions:
        by_id = {entity.id: entity for entity in entities}
        found = [_community_task(group, by_id, order, settings) for group in communities]
        tasks += [task for task in found if len(task.names) >= 2]
    tasks = [replace(task, item=f"{task.kind}: {task.item}") for task in tasks]
    planned: Counter[str] = Counter()
    problems: list[Problem] = []
    for task in tasks:
        planned[task.kind] += task.wanted
        problems += [Problem(STAGE, task.item, lack)] * task.wanted if (lack := _lack(task)) else []
    sound = [task for task in tasks if not _lack(task)]
    return Plan(
        settings,
        tuple(_template_pair(task, settings.seed) for task in sound if task.kind.endswith("template")),
        tuple(task for task in sound if not task.kind.endswith("template")),
        tuple(problems),
        {chunk.id: chunk for chunk in chunks},
        dict(planned),
        tuple(sorted(wanted - {entity.kind.strip().lower() for entity in entities})),
    )


def _lack(task: Task) -> str:
    """Why nobody can be asked about this, "" where somebody can."""
    if not all(name.strip() for name in task.names):
        return "one of its names is unknown: the index has no such entity"
    if not task.chunk_ids:
        return "none of its chunks is among the documents"
    if task.kind.endswith("template") and not task.description.strip():
        return "the index has no description of it, so there is no answer"
    return ""


def _entity_task(entity: Entity, order: dict[str, int]) -> Task:
    ids = _present(entity.chunk_ids, order)
    return Task("", entity.name, content_id("entity", entity.id), (entity.name,), entity.kind, entity.description, ids)


def _relation_task(edge: Relationship, names: dict[str, str], order: dict[str, int]) -> Task:
    ends = (names.get(edge.source, ""), names.get(edge.target, ""))
    ids = _present(edge.chunk_ids, order)
    fact = content_id("relationship", edge.id)
    item = " and ".join(names.get(end, end) for end in (edge.source, edge.target))
    return Task("", item, fact, ends, "relationship", edge.description, ids)


def _community_task(group: Community, by_id: dict[str, Entity], order: dict[str, int], settings: Generators) -> Task:
    """The chunks in which most members occur, the first ones where equal; shown in reading order."""
    inside = [by_id[member] for member in group.entity_ids if member in by_id and by_id[member].name.strip()]
    inside.sort(key=lambda entity: (-len(entity.chunk_ids), entity.id))
    counts = Counter(chunk_id for entity in inside for chunk_id in entity.chunk_ids if chunk_id in order)
    best = sorted(counts, key=lambda chunk_id: (-counts[chunk_id], order[chunk_id]))[: settings.context_chunks]
    report = f"{group.title}\n{group.summary}"
    return Task(
        "community_cot",
        f"{group.title} (level {group.level}, {group.id})",
        content_id("community", group.id),
        tuple(entity.name for entity in inside[:MEMBERS]),
        group.title,
        report,
        _present(best, order),
        settings.community_questions,
    )


def _present(ids: Sequence[str], order: dict[str, int]) -> tuple[str, ...]:
    """Chunk ids that the corpus has, in reading order."""
    return tuple(sorted({chunk_id for chunk_id in ids if chunk_id in order}, key=order.__getitem__))


def _shown(task: Task, most: int) -> Task:
    """The task with at most `most` of its chunks, evenly spread: its beginning alone would hide how things went on."""
    return replace(task, chunk_ids=tuple(task.chunk_ids[place] for place in spread(len(task.chunk_ids), most)))


def _local(kind: str, tasks: Sequence[Task], chunks: Sequence[Chunk]) -> list[Task]:
    """One task for each chunk and each subject in it, chunk by chunk, so that prompts with the same chunk are near."""
    inside: dict[str, list[Task]] = defaultdict(list)
    for task in tasks:
        for chunk_id in task.chunk_ids:
            inside[chunk_id].append(task)
    return [
        replace(
            task,
            kind=kind,
            item=f"{task.item} in {chunk.id}",
            fact_id=content_id("unit", chunk.id, task.fact_id),
            chunk_ids=(chunk.id,),
        )
        for chunk in chunks
        for task in inside[chunk.id]
    ]


def _template_pair(task: Task, seed: int) -> QAPair:
    """Question by a form, drawn for this subject alone: other entities come and go without changing it."""
    chooser = random.Random(content_id(seed, task.fact_id))
    if task.kind == "entity_template":
        question = chooser.choice(entity_forms(task.type)).format(name=task.names[0])
    else:
        question = chooser.choice(RELATION).format(a=task.names[0], b=task.names[1])
    made = make_pair("global", task.kind, question, "", task.description.strip(), [], "template", task.fact_id)
    return replace(made, evidence_ids=tuple(sorted(task.chunk_ids)))
