"""What a picture of the graph shows: nodes with places, lines, labels and tooltips, the same for the page and the file.

All texts are plain. Whoever writes them into HTML, SVG or a page's script has to escape them there.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ragtune_lib.explore.colours import Colouring
from ragtune_lib.records import Entity, Relationship, Sentence
from ragtune_lib.text import spoken_date

BORDER, LINE = "#5f6670", "#b9c0c9"
# what vis-network needs to know, for the page and for the canvas of the explorer
OPTIONS = {
    "physics": {"enabled": False},
    "layout": {"improvedLayout": False, "randomSeed": 1},
    "nodes": {
        "borderWidth": 1,
        "borderWidthSelected": 4,
        "font": {"size": 15, "color": "#1c1e21", "strokeWidth": 3, "strokeColor": "#ffffff"},
    },
    "edges": {
        "smooth": False,
        "font": {"size": 11, "color": "#454a52", "strokeWidth": 3, "strokeColor": "#ffffff"},
    },
    "interaction": {"hover": True, "hideEdgesOnDrag": True, "tooltipDelay": 300},
}
BY_RULES = ("name", "phrase", "")  # kinds that say nothing to a reader
TOOLTIP_SENTENCES = 3
TOOLTIP_COLUMNS = 72  # characters per line: vis-network does not wrap plain text
TOOLTIP_TEXT = 600  # characters of one sentence or description
LABEL_LENGTH = 32  # characters; the side panel and the tooltip have the whole name
EDGE_LABEL_LENGTH = 40
LINES = 1000  # of a picture at most, the strongest
ROUNDS = 60  # of the layout; more change little
TOLD_RELATIONS = 8  # relations of one line that are told in its tooltip; the rest is counted
LETTER_PX, LINE_PX = 8.4, 17.0  # of a label of 15 px, roughly: what it needs of the picture
WIDER = 1.35  # pictures are wider than high
ROOM = 0.5  # standard deviation of the places, in sides of the square that all nodes and labels would fill
FAR_OUT = 2.2  # standard deviations from the middle beyond which nothing is drawn
# what would reorder the text around it, or is no sign at all: shown as one sign that does neither
_BAD = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]")


@dataclass(frozen=True, slots=True)
class Node:
    """A circle with its name."""

    id: str
    label: str
    title: str  # what hovering shows, with line breaks
    colour: str
    size: float  # radius in pixels
    x: float  # pixels; (0, 0) is the middle, y grows downwards
    y: float


@dataclass(frozen=True, slots=True)
class Edge:
    """One line between two nodes, or a loop: all relations of the two together."""

    id: str  # that of its first relation
    source: str
    target: str
    label: str
    title: str
    width: float  # pixels


@dataclass(frozen=True, slots=True)
class Drawing:
    """A picture that is ready to be painted."""

    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]
    colouring: Colouring
    caption: str


def draw(
    entities: Sequence[Entity],
    relationships: Sequence[Relationship],
    degree: Mapping[str, int],
    colouring: Colouring,
    caption: str = "",
    seed: int = 17,
) -> Drawing:
    """Draw these entities and what connects them.

    Relations of the same two entities share a line, whose label and tooltip tell each of them. A label is what a model
    wrote about a relation, shortened; relations found by rules have none. The same input gives the same drawing.

    Args:
        entities: to draw, all of them.
        relationships: those with an end elsewhere are left out.
        degree: number of relationships of each entity in the whole graph; gives the size.
        colouring: of the entities.
        caption: a line of text for below the picture.
        seed: of the layout.
    """
    names = {entity.id: entity.name for entity in entities}
    shared: dict[tuple[str, str], list[Relationship]] = defaultdict(list)
    for link in sorted(relationships, key=lambda link: (-link.weight, link.id)):
        if link.source in names and link.target in names:
            shared[min(link.source, link.target), max(link.source, link.target)].append(link)
    weights = {pair: sum(link.weight for link in links) for pair, links in shared.items()}
    drawn = sorted(shared, key=lambda pair: (-weights[pair], pair))[:LINES]
    if len(drawn) < len(shared):
        caption = f"{caption}; the {LINES:,} strongest of {len(shared):,} lines"
    labels = {entity.id: shown(entity.name, LABEL_LENGTH) for entity in entities}
    scale = max(64, max((degree.get(one, 0) for one in names), default=0))
    sizes = {one: round(8 + 24 * (degree.get(one, 0) / scale) ** 0.5, 1) for one in names}
    places = positions(labels, sizes, {pair: weights[pair] for pair in drawn}, seed)
    nodes = tuple(
        Node(
            entity.id,
            labels[entity.id],
            tooltip(_heading(entity), entity.evidence),
            colouring.of(entity.id),
            sizes[entity.id],
            *places[entity.id],
        )
        for entity in sorted(entities, key=lambda entity: (-degree.get(entity.id, 0), entity.id))
    )
    edges = tuple(
        Edge(
            shared[pair][0].id,
            *pair,
            _edge_label(shared[pair]),
            _told(shared[pair], names),
            round(min(6.0, weights[pair] ** 0.5), 2),
        )
        for pair in sorted(drawn)
    )
    return Drawing(nodes, edges, colouring, caption)


def positions(
    labels: Mapping[str, str], sizes: Mapping[str, float], weights: Mapping[tuple[str, str], float], seed: int
) -> dict[str, tuple[float, float]]:
    """Pixel positions by a spring layout, then pushed apart until no two nodes or labels cover each other.

    Args:
        labels: text below each node; its keys are the nodes.
        sizes: radius of each, pixels.
        weights: of the linked pairs of nodes.
        seed: of the first positions.

    Source of the layout: Fruchterman and Reingold 1991, doi:10.1002/spe.4380211102, as in networkx.
    """
    import networkx
    import numpy as np

    ids = sorted(labels)
    if not ids:
        return {}
    graph = networkx.Graph()
    graph.add_nodes_from(ids)
    # the root: else a few heavy links would pull their ends into one place
    most = max(weights.values(), default=1.0)
    drawn = [(*pair, (weight / most) ** 0.5) for pair, weight in sorted(weights.items()) if pair[0] != pair[1]]
    graph.add_weighted_edges_from(drawn)
    # a tie to the best connected node, for the layout alone: what is linked to nothing else would fly out of sight
    parts = sorted(
        (sorted(part, key=lambda node: (-graph.degree(node), node)) for part in networkx.connected_components(graph)),
        key=lambda part: (-len(part), part),
    )
    graph.add_weighted_edges_from((parts[0][0], part[0], 0.5) for part in parts[1:])
    placed = networkx.spring_layout(graph, seed=seed, iterations=ROUNDS, k=2.2 / len(ids) ** 0.5)
    half = np.array([(max(sizes[one], len(labels[one]) * LETTER_PX / 2), sizes[one] + LINE_PX / 2) for one in ids])
    room = (4 * half.prod(axis=1).sum()) ** 0.5 * ROOM * (1 + 0.8 / len(ids) ** 0.5)
    at = _pushed_apart(_spread(np.array([placed[one] for one in ids], dtype=float)) * room, half + 4)
    return {one: (round(float(x), 1), round(float(y), 1)) for one, (x, y) in zip(ids, at, strict=True)}


def _spread(at):
    """The places turned so that the picture is wider than high, and drawn together where a few lie far out."""
    import numpy as np

    at = at - at.mean(axis=0)
    if len(at) < 3:
        return at
    _, _, turned = np.linalg.svd(at, full_matrices=False)
    at = at @ (turned * np.where(turned.sum(axis=1, keepdims=True) < 0, -1, 1)).T  # a sign for each axis: deterministic
    at = at / np.maximum(at.std(axis=0), 1e-9)
    return np.tanh(at / FAR_OUT) * FAR_OUT * (WIDER**0.5, WIDER**-0.5)


def _pushed_apart(at, half, rounds: int = 150):
    """Centres of boxes, moved a little at a time along the shorter way until none overlap; half: half their sizes."""
    import numpy as np

    need_x, need_y = (np.add.outer(side, side) for side in half.T)
    order = np.sign(np.subtract.outer(np.arange(len(at)), np.arange(len(at))))
    for _ in range(rounds):
        x, y = (np.subtract.outer(line, line) for line in at.T)
        over_x, over_y = need_x - np.abs(x), need_y - np.abs(y)
        hit = (over_x > 0) & (over_y > 0)
        np.fill_diagonal(hit, False)
        if not hit.any():
            break
        along_x = over_x < over_y
        move_x = np.where(hit & along_x, np.where(x != 0, np.sign(x), order) * over_x, 0).sum(axis=1)
        move_y = np.where(hit & ~along_x, np.where(y != 0, np.sign(y), order) * over_y, 0).sum(axis=1)
        at = at + 0.4 * np.stack([move_x, move_y], axis=1)
    return at


def shown(text: str, length: int) -> str:
    """A text in one line, at most so long, nothing in it that could reorder or hide what stands beside it."""
    line = " ".join(harmless(text[: 4 * length]).split())
    if len(line) > length or len(text) > 4 * length:
        line = f"{line[: length - 2].rstrip()} …"
    return line or "(no name)"


def harmless(text: str) -> str:
    """The text, each control or direction sign replaced by a visible one; letters of any script stay."""
    return _BAD.sub("\ufffd", text)


def tooltip(heading: str, evidence: Sequence[Sentence]) -> str:
    """What hovering shows: a heading, then the first sentences with their dates."""
    lines = [heading]
    for sentence in evidence[:TOOLTIP_SENTENCES]:
        date = f"{spoken_date(sentence.date)}: " if sentence.date else ""
        lines.append(wrapped(f"{date}{sentence.text}"))
    if len(evidence) > TOOLTIP_SENTENCES:
        lines.append(f"and {len(evidence) - TOOLTIP_SENTENCES} more")
    return harmless("\n\n".join(lines))


def wrapped(text: str) -> str:
    """The beginning of a text in lines that a tooltip can hold."""
    lines = [""]
    for word in text[:TOOLTIP_TEXT].split():  # textwrap does the same in five times the time
        for start in range(0, len(word), TOOLTIP_COLUMNS):
            piece = word[start : start + TOOLTIP_COLUMNS]
            if lines[-1] and len(lines[-1]) + len(piece) >= TOOLTIP_COLUMNS:
                lines.append("")
            lines[-1] = f"{lines[-1]} {piece}" if lines[-1] else piece
    return "\n".join(lines)


def written(thing: Entity | Relationship) -> str:
    """What a model wrote about it; "" where the description only repeats the evidence."""
    quoted = thing.evidence and thing.evidence[0].text in thing.description
    return "" if quoted else thing.description


def _heading(entity: Entity) -> str:
    kind = "" if entity.kind in BY_RULES else f" ({entity.kind})"
    return wrapped(f"{entity.name}{kind}") + _paragraph(entity)


def _paragraph(thing: Entity | Relationship) -> str:
    text = written(thing)
    return f"\n\n{wrapped(text)}" if text else ""


def _edge_label(links: Iterable[Relationship]) -> str:
    labels = [shown(text, EDGE_LABEL_LENGTH) for link in links if (text := written(link))]
    return "\n".join(dict.fromkeys(labels))


def _told(links: Sequence[Relationship], names: Mapping[str, str]) -> str:
    source, target = (shown(names[end], LABEL_LENGTH) for end in (links[0].source, links[0].target))
    told = f"{source} \u2013 {target}"
    parts = [tooltip(told + _paragraph(link), link.evidence) for link in links[:TOLD_RELATIONS]]
    if len(links) > TOLD_RELATIONS:
        parts.append(f"and {len(links) - TOLD_RELATIONS} more relations")
    return "\n\n".join(parts)
