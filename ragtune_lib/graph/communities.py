"""Community descriptions: who is in a group and what the text says about them, in sentences of the text itself."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace

from ragtune_lib.records import Community, Entity, Relationship, Sentence

TITLE_NAMES = 3


def describe_communities(
    communities: Sequence[Community],
    entities: Sequence[Entity],
    relationships: Sequence[Relationship],
    max_sentences: int = 12,
) -> list[Community]:
    """Give each community a title and a summary made of source sentences.

    The title joins the names of the three best connected members: highest sum of the weights of their links inside
    the community, ties by name. The summary takes the sentences that name most members, and prints them in the order
    of their dates, undated ones first, those of one date in reading order.

    Args:
        communities: groups of entity ids, e.g. from `build.detect_communities`.
        entities: all entities of the graph, with their evidence.
        relationships: all links of the graph.
        max_sentences: most sentences in a summary, at least 1.

    Returns:
        The communities in the same order; `summary` is the texts of `evidence`, joined by a blank.

    Raises:
        ValueError: if `max_sentences` is below 1.
    """
    if max_sentences < 1:
        raise ValueError(f"max_sentences={max_sentences}: a summary needs at least 1")
    by_id = {entity.id: entity for entity in entities}
    links: dict[str, list[Relationship]] = defaultdict(list)
    for link in relationships:
        links[link.source].append(link)
    described = []
    for community in communities:
        members = [by_id[entity_id] for entity_id in community.entity_ids]
        inside = set(community.entity_ids)
        weight: Counter[str] = Counter()
        for link in (link for source in sorted(inside) for link in links[source] if link.target in inside):
            weight[link.source] += link.weight
            weight[link.target] += link.weight
        best = sorted(members, key=lambda entity: (-weight[entity.id], entity.name))
        evidence = _summary_sentences(members, max_sentences)
        title = ", ".join(entity.name for entity in best[:TITLE_NAMES])
        summary = " ".join(sentence.text for sentence in evidence)
        described.append(replace(community, title=title, summary=summary, evidence=evidence))
    return described


def homes(communities: Iterable[Community], level: int) -> dict[str, Community]:
    """The community of each entity at a level: the finest one that is no finer than `level`, by entity id.

    So an entity whose branch of the hierarchy ends early stays in it, as in GraphRAG (arXiv 2404.16130, section 4.1):
    at C1 are the groups of level 1, and those of level 0 that have no parts. A level beyond the finest one is the
    finest.
    """
    found: dict[str, Community] = {}
    for one in sorted(communities, key=lambda one: one.level):
        if one.level <= level:
            found |= dict.fromkeys(one.entity_ids, one)
    return found


def communities_at(communities: Sequence[Community], level: int) -> list[Community]:
    """The communities that are some entity's home at a level, in the order given."""
    kept = {one.id for one in homes(communities, level).values()}
    return [one for one in communities if one.id in kept]


def _summary_sentences(members: Iterable[Entity], most: int) -> tuple[Sentence, ...]:
    """The sentences that name most members, in date order."""
    named = Counter(sentence for entity in members for sentence in entity.evidence)
    best = sorted(named, key=lambda sentence: (-named[sentence], *_reading_order(sentence)))[:most]
    return tuple(sorted(best, key=_reading_order))


def _reading_order(sentence: Sentence) -> tuple[str, int, str]:
    return sentence.date, sentence.position, sentence.text
