"""The neighbourhood of a pair's entity as a small picture: the entity in the middle, what it is linked to around it."""

from __future__ import annotations

import html
import math
from collections import defaultdict
from collections.abc import Sequence

from ragtune_lib.records import Entity, QAPair, Relationship
from ragtune_lib.text import contains, normalize

NODES = 12  # drawn at most
WIDTH, HEIGHT = 460, 250  # pixels of the drawing; it shrinks with its column
LABEL = 20  # characters shown of a name; the whole one is in the tooltip


class Neighbourhoods:
    """Which entity a pair is about, and what is around it.

    Args:
        entities: of the run's graph.
        relationships: their links; those whose ends are not among the entities are passed over.
    """

    def __init__(self, entities: Sequence[Entity] = (), relationships: Sequence[Relationship] = ()):
        self.entities = {entity.id: entity for entity in entities}
        self.by_chunk: defaultdict[str, list[Entity]] = defaultdict(list)
        for entity in entities:
            for chunk_id in entity.chunk_ids:
                self.by_chunk[chunk_id].append(entity)
        self.links: defaultdict[str, list[Relationship]] = defaultdict(list)
        for link in relationships:
            if link.source != link.target and link.source in self.entities and link.target in self.entities:
                self.links[link.source].append(link)
                self.links[link.target].append(link)

    def centre(self, pair: QAPair) -> Entity | None:
        """The entity that the pair is about: of those in its evidence, one that it names, best in question and answer.

        Ties go to the one with more links, then by name; None where the pair names none.
        """
        asked, answered = normalize(pair.question), normalize(f"{pair.answer} {pair.reasoning}")
        near = {entity.id: entity for chunk_id in pair.evidence_ids for entity in self.by_chunk.get(chunk_id, ())}
        ranked = []
        for entity in near.values():
            named = 2 * contains(asked, entity.name) + contains(answered, entity.name)
            if named:
                ranked.append((-named, -len(self.links[entity.id]), entity.name, entity.id))
        return near[min(ranked)[3]] if ranked else None

    def around(self, entity: Entity) -> list[Entity]:
        """Its neighbours, those of the heaviest links first, at most `NODES` - 1."""
        weights: defaultdict[str, float] = defaultdict(float)
        for link in self.links[entity.id]:
            weights[link.target if link.source == entity.id else link.source] += link.weight
        best = sorted(weights, key=lambda other: (-weights[other], self.entities[other].name, other))
        return [self.entities[other] for other in best[: NODES - 1]]

    def drawing(self, pair: QAPair) -> str:
        """The picture as inline SVG with every name escaped, "" where the pair is about no entity."""
        centre = self.centre(pair)
        if centre is None:
            return ""
        others = sorted(self.around(centre), key=lambda entity: (entity.name, entity.id))
        drawn = {centre.id: (WIDTH / 2, HEIGHT / 2)}
        for place, entity in enumerate(others):
            # from the left, since labels stand beside their nodes: few of them on top of each other
            angle = math.pi * (2 * place + 1) / max(1, len(others)) - math.pi
            drawn[entity.id] = (WIDTH / 2 + 135 * math.cos(angle), HEIGHT / 2 + 98 * math.sin(angle))
        lines = []
        for one in sorted(drawn):
            for link in self.links[one]:
                if link.source == one and link.target in drawn:
                    to_centre = centre.id in (link.source, link.target)  # drawn last, so on top
                    lines.append((to_centre, _line(link, drawn, to_centre)))
        nodes = [_node(entity, *drawn[entity.id], entity is centre) for entity in [*others, centre]]
        title = html.escape(f"{centre.name} and {len(others)} of its neighbours")
        return (
            f'<svg class="near" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{title}">'
            f"{''.join(line for _, line in sorted(lines))}{''.join(nodes)}</svg>"
        )


def _line(link: Relationship, drawn: dict[str, tuple[float, float]], to_centre: bool) -> str:
    (x1, y1), (x2, y2) = drawn[link.source], drawn[link.target]
    colour, width = ("#6b7480", min(4.0, max(1.0, link.weight**0.5))) if to_centre else ("#d5d9de", 1.0)
    told = html.escape(link.description[:300])
    return (
        f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}" '
        f'stroke-width="{width:.1f}"><title>{told}</title></line>'
    )


def _node(entity: Entity, x: float, y: float, is_centre: bool) -> str:
    name = " ".join(entity.name.split())
    short = name if len(name) <= LABEL else f"{name[: LABEL - 1].rstrip()}\u2026"
    side = 0 if is_centre or abs(x - WIDTH / 2) < 20 else (1 if x > WIDTH / 2 else -1)
    anchor = {0: "middle", 1: "start", -1: "end"}[side]
    # above or below its node where it stands over or under the middle, else beside it
    down = (20 if y >= HEIGHT / 2 else -11) if side == 0 else 4
    look = 'fill="#0072b2"' if is_centre else 'fill="#fff" stroke="#0072b2" stroke-width="2"'
    weight = ' font-weight="700"' if is_centre else ""
    return (
        f'<g><title>{html.escape(name)}</title><circle cx="{x:.1f}" cy="{y:.1f}" r="{8 if is_centre else 5}" {look}/>'
        f'<text x="{x + 10 * side:.1f}" y="{y + down:.1f}" text-anchor="{anchor}"{weight}>'
        f"{html.escape(short)}</text></g>"
    )
