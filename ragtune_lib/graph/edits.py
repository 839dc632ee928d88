"""A person's corrections of the graph, and the graph that follows from them.

Corrections are appended to graph_edits.jsonl and never changed. The graph is corrected anew from them each time, after
names that mean the same were merged and before communities are found, so an undo brings the old graph back.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import get_args, get_type_hints

from ragtune_lib.graph.events import STAGE, EventLog, read_events, standing
from ragtune_lib.records import Community, Entity, GraphEdit, Problem, Relationship

ACTIONS = get_args(get_type_hints(GraphEdit)["action"])
NAME_LENGTH = 1000  # characters; a longer "name" is a text that was pasted by mistake


@dataclass(frozen=True, slots=True)
class Corrections:
    """What standing events come to."""

    names: dict[str, str]  # new name of each renamed entity
    kinds: dict[str, str]  # new type of each retyped entity
    deleted: frozenset[str]  # entities
    unlinked: frozenset[str]  # relationships

    def entity(self, entity: Entity) -> Entity:
        """The entity with its new name and type."""
        name, kind = self.names.get(entity.id, entity.name), self.kinds.get(entity.id, entity.kind)
        return entity if (name, kind) == (entity.name, entity.kind) else replace(entity, name=name, kind=kind)

    def keeps(self, link: Relationship) -> bool:
        """Whether neither the relationship nor one of its ends was deleted."""
        return link.id not in self.unlinked and self.deleted.isdisjoint((link.source, link.target))


@dataclass(frozen=True, slots=True)
class Corrected:
    """A graph after its corrections."""

    entities: list[Entity]
    relationships: list[Relationship]
    communities: list[Community]
    problems: list[Problem]  # one for each standing event whose entity or relationship is gone


def corrections(events: Iterable[GraphEdit]) -> Corrections:
    """What counts of all events, in the order of the file: of each entity the last name and the last type."""
    left = standing(events)
    return Corrections(
        {event.about: event.value for event in left if event.action == "rename"},
        {event.about: event.value for event in left if event.action == "retype"},
        frozenset(event.about for event in left if event.action == "delete"),
        frozenset(event.about for event in left if event.action == "unlink"),
    )


def correct(
    entities: Sequence[Entity],
    relationships: Sequence[Relationship],
    communities: Sequence[Community],
    events: Iterable[GraphEdit],
) -> Corrected:
    """Apply all corrections that stand; pure.

    A deleted entity goes with its relationships and leaves its communities; a community without members goes. Ids stay:
    a renamed entity is the same one. Titles and reports of communities stay as they were written.

    Args:
        entities: nodes, after merging.
        relationships: edges.
        communities: groups of the nodes; may be empty, where they are found afterwards.
        events: as read, undone ones included.

    Returns:
        The graph in the order given. An event about what is not there (any more: a document changed, or the entity was
        merged into another one) is a problem and stays in the file.
    """
    events = standing(events)
    found = corrections(events)
    nodes = {entity.id for entity in entities}
    edges = {link.id for link in relationships} if found.unlinked else set()
    problems = [
        Problem(STAGE, f"correction of {event.name or event.about}", _gone(event))
        for event in events
        if event.about not in (edges if event.action == "unlink" else nodes)
    ]
    left = [replace(one, entity_ids=tuple(m for m in one.entity_ids if m not in found.deleted)) for one in communities]
    return Corrected(
        [found.entity(entity) for entity in entities if entity.id not in found.deleted],
        [link for link in relationships if found.keeps(link)],
        [one for one in left if one.entity_ids],
        problems,
    )


def _gone(event: GraphEdit) -> str:
    thing = "relationship" if event.action == "unlink" else "entity"
    wanted = f" to {event.value!r:.80}" if event.action in ("rename", "retype") else ""
    return f"{event.action}{wanted}: no {thing} {event.about!r:.40} any more; the correction is kept and not used"


def read_graph_edits(path: Path) -> tuple[list[GraphEdit], list[Problem]]:
    """Read a file of corrections; a missing one is empty, and each line that is none is a problem."""
    return read_events(path, GraphEdit, _complaint)


def _complaint(edit: GraphEdit) -> str:
    for field, value in asdict(edit).items():
        if not isinstance(value, str):
            return f"field {field!r}: expected text, got {value!r:.60}"
    if edit.action not in ACTIONS:
        return f"unknown action {edit.action!r:.60}, expected one of {', '.join(ACTIONS)}"
    if not edit.about:
        return "no id of an entity or relationship"
    if edit.action == "rename" and not edit.value.strip():
        return "an entity needs a name"
    if len(edit.value) > NAME_LENGTH:
        return f"a name or type of {len(edit.value)} characters; at most {NAME_LENGTH}"
    return ""


class GraphEdits(EventLog[GraphEdit]):
    """The corrections of one run, and the way to add to them; every one is on the disk before it shows.

    Args:
        folder: the run folder; corrections are appended to its graph_edits.jsonl.
        reviewer: name written into each; undo only takes back this reviewer's own.
    """

    def __init__(self, folder: Path, reviewer: str = ""):
        super().__init__(folder / "graph_edits.jsonl", GraphEdit, _complaint, reviewer)

    def rename(self, entity: Entity, name: str) -> GraphEdit:
        """Give an entity another name.

        Raises:
            ValueError: if the name is blank, too long or the old one.
            OSError: if the correction cannot be written; the state is then unchanged.
        """
        name = " ".join(name.split())
        if name == entity.name:
            raise ValueError(f"{name!r:.80} is its name already")
        return self.append(GraphEdit(entity.id, "rename", name, entity.name))

    def retype(self, entity: Entity, kind: str) -> GraphEdit:
        """Give an entity another type, "" for none; errors as in `rename`."""
        kind = " ".join(kind.split())
        if kind == entity.kind:
            raise ValueError(f"{kind!r:.80} is its type already")
        return self.append(GraphEdit(entity.id, "retype", kind, entity.name))

    def delete(self, entity: Entity) -> GraphEdit:
        """Delete an entity with all its relationships; errors of the disk as in `rename`."""
        return self.append(GraphEdit(entity.id, "delete", "", entity.name))

    def unlink(self, link: Relationship, names: Sequence[str]) -> GraphEdit:
        """Delete one relationship; `names` are those of its ends. Errors of the disk as in `rename`."""
        return self.append(GraphEdit(link.id, "unlink", "", " \u2013 ".join(names)))
