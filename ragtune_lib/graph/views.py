"""Where a person stands in a large graph, and the picture of that place."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ragtune_lib.graph.colours import Colouring, by_count, by_document, by_group, by_type
from ragtune_lib.graph.drawing import LABEL_LENGTH, Drawing, Edge, Node, draw, harmless, positions, shown, wrapped
from ragtune_lib.graph.overview import EVERYTHING, LOOSE, Filter, GraphIndex, Overview, Part
from ragtune_lib.records import Document, Entity

GROUP_LINES = 400  # lines between communities at most: each community's strongest, then the strongest of all
LABELLED_LINES = 40  # with more, the numbers at the lines cover the picture; hovering still shows them


@dataclass(frozen=True, slots=True)
class View:
    """One place: the overview, one community, the neighbourhood of one entity, or the best connected entities."""

    kind: str  # "overview", "community", "near" or "best"
    id: str = ""  # of the community or entity
    steps: int = 1  # of a neighbourhood: 1 or 2
    level: int = 0  # of the communities, 0 is the coarsest
    wanted: Filter = EVERYTHING


def picture(
    index: GraphIndex,
    view: View,
    colour: str = "community",
    counts: Mapping[str, int] | None = None,
    documents: Sequence[Document] = (),
    seed: int = 17,
) -> Drawing:
    """The picture of one place.

    Args:
        index: the graph.
        view: where.
        colour: what the colours say: "community", "type", "document", or what `counts` are.
        counts: a count for each entity id, where colours shall show one.
        documents: for their names.
        seed: of the layout.

    Raises:
        ValueError: if the community or entity is not there, or the view is of no known kind.
    """
    if view.kind == "overview":
        return _overview(index, view, colour, counts, documents, seed)
    level = view.level
    if view.kind == "community":
        part = index.members(view.id, view.level, view.wanted)
        level = index.communities[view.id].level + 1 if view.id != LOOSE else view.level
        name = index.group_name(view.id)
    elif view.kind == "near":
        part = index.near(view.id, view.steps, view.wanted)
        name = f"{index.entity(view.id).name} and what is {view.steps} step{'s' * (view.steps > 1)} away"
    elif view.kind == "best":
        part, name = index.best_connected(view.wanted), "best connected"
    else:
        raise ValueError(f"unknown view {view.kind!r}")
    ids = [entity.id for entity in part.entities]
    if counts is not None:
        colouring = by_count(counts, ids, colour)
    else:
        colouring = by_group(_groups(index, part.entities, colour, level, documents), ids, colour)
    return draw(part.entities, part.links, index.degrees(ids), colouring, _caption(part, name), seed)


def _groups(
    index: GraphIndex, entities: Sequence[Entity], colour: str, level: int, documents: Sequence[Document]
) -> dict[str, str]:
    if colour == "type":
        return by_type(entities)
    if colour == "document":
        return by_document(entities, index.chunks, documents)
    return index.group_names(entities, level)


def _caption(part: Part, name: str) -> str:
    text = f"{shown(name, 100)}: {part.whole:,} entities, {len(part.links):,} relationships among those drawn"
    return f"{text}; the best {len(part.entities):,} are drawn" if part.whole > len(part.entities) else text


def _overview(
    index: GraphIndex,
    view: View,
    colour: str,
    counts: Mapping[str, int] | None,
    documents: Sequence[Document],
    seed: int,
) -> Drawing:
    found = index.overview(view.level, view.wanted)
    names = {group.id: index.group_name(group.id) for group in found.groups}
    lines = _lines(found)
    largest = max((group.members for group in found.groups), default=1)
    most = max((count for _, _, count in lines), default=1)
    sizes = {group.id: round(10 + 30 * (group.members / largest) ** 0.5, 1) for group in found.groups}
    labels = {one: shown(name, LABEL_LENGTH) for one, name in names.items()}
    places = positions(labels, sizes, {(one, other): float(count) for one, other, count in lines}, seed)
    colouring = _group_colouring(index, view.level, found, names, colour, counts, documents)
    nodes = tuple(
        Node(
            group.id, labels[group.id], _group_title(index, group.id, names[group.id], group.members),
            colouring.of(group.id), sizes[group.id], *places[group.id],
        )
        for group in found.groups
    )  # fmt: skip
    edges = tuple(
        Edge(
            f"{one} {other}", one, other, f"{count:,}" if len(lines) <= LABELLED_LINES else "",
            f"{labels[one]} \u2013 {labels[other]}\n{count:,} links", round(0.6 + 5.4 * (count / most) ** 0.5, 2),
        )
        for one, other, count in lines
    )  # fmt: skip
    text = f"{found.whole:,} groups, {sum(group.members for group in found.groups):,} entities in those drawn"
    if found.whole > len(found.groups):
        text += f"; the {len(found.groups):,} largest are drawn"
    if len(found.links) > len(lines):
        text += f"; the {len(lines):,} strongest of {len(found.links):,} lines"
    return Drawing(nodes, edges, colouring, text)


def _group_title(index: GraphIndex, group_id: str, name: str, members: int) -> str:
    summary = index.communities[group_id].summary if group_id != LOOSE else ""
    text = f"{wrapped(name)}\n{members:,} entities"
    return harmless(f"{text}\n\n{wrapped(summary)}" if summary else text)


def _lines(found: Overview) -> list[tuple[str, str, int]]:
    """The lines to draw: the strongest of each group, then the strongest of all."""
    ranked = sorted(found.links, key=lambda line: (-line[2], line))
    own: dict[str, tuple[str, str, int]] = {}
    for line in ranked:
        own.setdefault(line[0], line)
        own.setdefault(line[1], line)
    return sorted(list(dict.fromkeys([*own.values(), *ranked]))[: max(GROUP_LINES, len(own))])


def _group_colouring(
    index: GraphIndex,
    level: int,
    found: Overview,
    names: Mapping[str, str],
    colour: str,
    counts: Mapping[str, int] | None,
    documents: Sequence[Document],
) -> Colouring:
    """Colours of whole communities: their own, the most frequent type or document inside, or the sum of a count."""
    ids = [group.id for group in found.groups]
    if counts is None and colour not in ("type", "document"):
        sizes = {names[group.id]: group.members for group in found.groups}
        return by_group({one: names[one] for one in ids if one != LOOSE}, ids, colour, sizes)
    inside = index.grouped(level)
    if counts is not None:
        sums = {one: sum(counts.get(entity.id, 0) for entity in inside[one]) for one in ids}
        return by_count(sums, ids, colour)
    of = _groups(index, [entity for one in ids for entity in inside[one]], colour, level, documents)
    told = {one: Counter(of[entity.id] for entity in inside[one] if entity.id in of) for one in ids}
    return by_group({one: min(c, key=lambda name: (-c[name], name)) for one, c in told.items() if c}, ids, colour)
