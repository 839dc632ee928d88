"""What the colours of a graph picture say: a group (community, type, document) or a count (pairs made, facts recalled).

Every colour goes with a line of the legend, and all are told apart by colour-blind readers.
"""

from __future__ import annotations

import html
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from ragtune_lib.records import Chunk, Community, Document, Entity

# Okabe and Ito's colours, then Tol's muted ones: both are told apart by colour-blind readers.
PALETTE = (
    "#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00",
    "#882255", "#ddcc77", "#332288", "#44aa99", "#999933", "#aa4499",
)  # fmt: skip
OTHER = "#b8bcc2"
# ColorBrewer's YlGnBu, light to dark; its lightness alone tells the order
SCALE = ("#c7e9b4", "#7fcdbb", "#41b6c4", "#2c7fb8", "#253494")
NOTHING = "#f1f2f4"  # a count of 0
TITLE_LENGTH = 60  # characters of a legend line


@dataclass(frozen=True, slots=True)
class Colouring:
    """A colour for each id, and what the colours mean."""

    colours: dict[str, str]
    legend: tuple[tuple[str, str], ...]  # colour and meaning, plain text
    heading: str = ""  # what all of them are about

    def of(self, one: str) -> str:
        """The colour of an id."""
        return self.colours.get(one, OTHER)


def by_group(
    groups: Mapping[str, str], drawn: Collection[str], heading: str = "", sizes: Mapping[str, int] | None = None
) -> Colouring:
    """A colour for each of the twelve largest groups that have something drawn; grey for all others.

    Args:
        groups: name of the group of each id; ids without one are in none. Size is counted over all of them, so that
            the same group is the largest whatever part is drawn.
        drawn: the ids to colour.
        heading: what the groups are.
        sizes: of each group, where the number of its ids is not what counts.
    """
    sizes = Counter(groups.values()) if sizes is None else sizes
    present = {groups[one] for one in drawn if one in groups}
    ranked = sorted(present, key=lambda group: (-sizes[group], group))[: len(PALETTE)]
    shades = dict(zip(ranked, PALETTE, strict=False))
    colours = {one: shades[groups[one]] for one in drawn if groups.get(one) in shades}
    legend = [(shades[group], _short(group)) for group in ranked]
    if len(colours) < len(set(drawn)):
        legend.append((OTHER, "other or none"))
    return Colouring(colours, tuple(legend), heading)


def by_count(counts: Mapping[str, int], drawn: Collection[str], heading: str = "") -> Colouring:
    """The higher the count, the darker; 0 has a colour of its own.

    Args:
        counts: a whole number, 0 or more, for each id; an id without one has 0.
        drawn: the ids to colour.
        heading: what is counted.
    """
    steps = _steps(max((counts.get(one, 0) for one in drawn), default=0))
    shades = dict(zip(steps, _spread(len(steps)), strict=True))
    colours = {}
    for one in drawn:
        count = counts.get(one, 0)
        colours[one] = next((shade for (low, high), shade in shades.items() if low <= count <= high), NOTHING)
    told = [(shade, f"{low}" if low == high else f"{low} to {high}") for (low, high), shade in shades.items()]
    return Colouring(colours, ((NOTHING, "0"), *told), heading)


def _steps(highest: int) -> list[tuple[int, int]]:
    """Ranges that together are 1 to `highest`, at most as many as there are shades, each about as many times as high.

    >>> _steps(3), _steps(100)
    ([(1, 1), (2, 2), (3, 3)], [(1, 2), (3, 6), (7, 15), (16, 39), (40, 100)])
    """
    if highest <= len(SCALE):
        return [(count, count) for count in range(1, highest + 1)]
    ends = [int(highest ** (step / len(SCALE))) for step in range(1, len(SCALE))]
    for step in range(len(ends)):  # each range holds something
        ends[step] = max(ends[step], ends[step - 1] + 1 if step else 1)
    return list(zip([1, *(end + 1 for end in ends)], [*ends, highest], strict=True))


def _spread(count: int) -> list[str]:
    """As many shades, light to dark, as far apart as there are."""
    return [SCALE[round(at * (len(SCALE) - 1) / max(1, count - 1))] for at in range(count)]


def _short(title: str) -> str:
    return title if len(title) <= TITLE_LENGTH else f"{title[: TITLE_LENGTH - 2].rstrip()} …"


def communities_of(communities: Sequence[Community], level: int = 0) -> dict[str, Community]:
    """The community of each entity at a level; where it was not split that far, the finest one above."""
    found: dict[str, Community] = {}
    for community in sorted(communities, key=lambda community: community.level):
        if community.level <= level:
            found.update(dict.fromkeys(community.entity_ids, community))
    return found


def community_names(communities: Sequence[Community]) -> dict[str, str]:
    """A name for each community id that no other has: its title, with a number where several share it."""
    named: dict[str, str] = {}
    seen: Counter[str] = Counter()
    for number, community in enumerate(communities, 1):
        title = " ".join(community.title.split()) or f"community {number}"
        seen[title] += 1
        named[community.id] = title if seen[title] == 1 else f"{title} ({seen[title]})"
    return named


def by_community(communities: Sequence[Community], level: int = 0) -> dict[str, str]:
    """Name of the community of each entity at a level, for `by_group`."""
    names = community_names(communities)
    return {one: names[community.id] for one, community in communities_of(communities, level).items()}


def by_type(entities: Sequence[Entity]) -> dict[str, str]:
    """Type of each entity that has one, for `by_group`."""
    return {entity.id: entity.kind for entity in entities if entity.kind}


def by_document(entities: Sequence[Entity], chunks: Sequence[Chunk], documents: Sequence[Document]) -> dict[str, str]:
    """Name of the document that each entity has most chunks of (then the first by name), for `by_group`."""
    names = {document.id: document.name for document in documents}
    source = {chunk.id: names.get(chunk.document_id, chunk.document_id) for chunk in chunks}
    found = {}
    for entity in entities:
        counts = Counter(source[chunk_id] for chunk_id in entity.chunk_ids if chunk_id in source)
        if counts:
            found[entity.id] = min(counts, key=lambda name: (-counts[name], name))
    return found


def legend_list(colouring: Colouring) -> str:
    """The legend as an escaped HTML list of class "legend"."""
    rows = "".join(
        f'<li><i style="background:{colour}"></i>{html.escape(meaning)}</li>' for colour, meaning in colouring.legend
    )
    heading = f"<li><b>{html.escape(colouring.heading)}</b></li>" if colouring.heading and rows else ""
    return f'<ul class="legend">{heading}{rows}</ul>'
