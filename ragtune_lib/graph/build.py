"""The entity graph: mentions become entities and weighted relationships, these become nested communities.

Everything is put into one canonical order before it is counted or clustered, so the same corpus gives the same graph.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations

from ragtune_lib.graph.extract import fold_plural
from ragtune_lib.records import Chunk, Community, Entity, Mention, Relationship, Sentence
from ragtune_lib.store import content_id
from ragtune_lib.text import normalize

DESCRIPTION_SENTENCES = 3  # the first few say who or what somebody is
MIN_PHRASE_WEIGHT = 2  # two things named together once are chance; a person and a thing named together are not
MAX_LINKED = 30  # a "sentence" that names more is a list or a table, and would link everything with everything
PLACE_WORDS = frozenset(
    """street row lane road avenue square place house hall hill field fields farm park garden wood forest lake river sea
    bay island isle bridge station market harbour port church chapel abbey school college university hospital hotel inn
    company society bank club museum library theatre tower castle court centre center city county valley""".split()  # noqa: SIM905
)


def build_graph(mentions: Sequence[Mention], chunks: Sequence[Chunk]) -> tuple[list[Entity], list[Relationship]]:
    """Merge mentions by name and link what is named in the same sentence.

    Merged are spellings that are equal after `text.normalize` (and without a leading "the", phrases without plural s),
    and a single name with the only longer personal name that it begins or ends ("Ilse", "Ilse Brandt"). The weight of
    a relationship is the number of sentences that name both ends. Links between two phrases need a weight of 2.

    Args:
        mentions: as `extract.extract_mentions` gives them, in any order.
        chunks: the chunks they come from, in reading order; they give dates and the order of evidence.

    Returns:
        Entities and relationships, each sorted by id. Ids depend on the name alone. Entities may be isolated.
    """
    spelled = Counter((mention.name, mention.kind) for mention in mentions)
    keys = _merged_keys(spelled)
    ids = {key: content_id(key) for key in keys.values()}
    spellings: dict[str, Counter[str]] = defaultdict(Counter)
    kinds: dict[str, set[str]] = defaultdict(set)
    for (name, kind), count in spelled.items():
        spellings[keys[name, kind]][name] += count
        kinds[keys[name, kind]].add(kind)
    places = _places(mentions, chunks)
    sentences = dict(places.values())
    named: dict[int, set[str]] = defaultdict(set)
    found: dict[str, set[int]] = defaultdict(set)
    for mention in mentions:
        key = keys[mention.name, mention.kind]
        place, _ = places[mention.chunk_id, mention.start]
        named[place].add(ids[key])
        found[key].add(place)
    entities = []
    for key, at in found.items():
        evidence = tuple(sentences[place] for place in sorted(at))
        kind = "name" if "name" in kinds[key] else "phrase"
        name = min(spellings[key], key=lambda spelling: (-spellings[key][spelling], spelling))
        entities.append(Entity(ids[key], name, kind, _description(evidence), evidence, _chunk_ids(evidence)))
    phrases = {ids[key] for key in found if kinds[key] == {"phrase"}}
    links = _links(named, phrases)
    shared: dict[tuple[int, ...], tuple] = {}  # most links of a sentence have it alone as evidence: made once for all
    relationships = []
    for (source, target), places_of_both in links.items():
        at = tuple(places_of_both)
        if at not in shared:
            evidence = tuple(sentences[place] for place in at)
            shared[at] = _description(evidence), evidence, _chunk_ids(evidence)
        link_id = content_id(source, target)
        relationships.append(Relationship(link_id, source, target, float(len(at)), *shared[at]))
    return sorted(entities, key=lambda entity: entity.id), sorted(relationships, key=lambda link: link.id)


def name_key(name: str) -> str:
    """What two spellings of one name share: its normalised words, without a leading "the"; "" for signs alone."""
    key = normalize(name)
    return key.removeprefix("the ")


def _key(name: str, kind: str) -> str:
    """What two spellings of one entity share."""
    key = name_key(name)
    return " ".join(fold_plural(word) for word in key.split()) if kind == "phrase" else key


def _merged_keys(spellings: Iterable[tuple[str, str]]) -> dict[tuple[str, str], str]:
    """Maps each spelling with its kind to the key of its entity: its own, or that of the one longer name it is in."""
    keys = {(name, kind): _key(name, kind) for name, kind in spellings}
    names = sorted({key for (_, kind), key in keys.items() if kind == "name"})
    longer: dict[str, set[str]] = defaultdict(set)
    for name in names:
        words = name.split()
        if len(words) in (2, 3) and not PLACE_WORDS.intersection(words) and "of" not in words:
            for word in {words[0], words[-1]}:
                longer[word].add(name)
    whole = {name: min(longer[name]) for name in names if len(longer[name]) == 1}
    return {spelling: whole.get(key, key) for spelling, key in keys.items()}


def _places(mentions: Iterable[Mention], chunks: Sequence[Chunk]) -> dict[tuple[str, int], tuple[int, Sentence]]:
    """The rank in the corpus and the record of each sentence, by chunk and offset; one per offset of a document."""
    documents: dict[str, int] = {}
    for chunk in chunks:
        documents.setdefault(chunk.document_id, len(documents))
    by_id = {chunk.id: (documents[chunk.document_id], rank, chunk.date) for rank, chunk in enumerate(chunks)}
    texts = {(mention.chunk_id, mention.start): mention.sentence for mention in mentions}
    groups: dict[tuple[int, int], list[str]] = defaultdict(list)
    for chunk_id, start in texts:
        groups[by_id[chunk_id][0], start].append(chunk_id)
    places = {}
    for position, (document, start) in enumerate(sorted(groups)):
        chunk_ids = groups[document, start]
        first = min(chunk_ids, key=lambda chunk_id: by_id[chunk_id][1]) if len(chunk_ids) > 1 else chunk_ids[0]
        sentence = Sentence(texts[first, start], first, by_id[first][2], position)
        for chunk_id in chunk_ids:
            places[chunk_id, start] = (position, sentence)
    return places


def _links(named: Mapping[int, set[str]], phrases: set[str]) -> dict[tuple[str, str], list[int]]:
    links: dict[tuple[str, str], list[int]] = defaultdict(list)
    for place in sorted(named):
        if len(named[place]) <= MAX_LINKED:
            for pair in combinations(sorted(named[place]), 2):
                links[pair].append(place)
    return {pair: at for pair, at in links.items() if len(at) >= MIN_PHRASE_WEIGHT or not phrases.issuperset(pair)}


def _description(evidence: Sequence[Sentence]) -> str:
    return " ".join(dict.fromkeys(sentence.text for sentence in evidence[:DESCRIPTION_SENTENCES]))


def _chunk_ids(evidence: Iterable[Sentence]) -> tuple[str, ...]:
    return tuple(sorted({sentence.chunk_id for sentence in evidence}))


def detect_communities(
    entities: Sequence[Entity], relationships: Sequence[Relationship], max_cluster_size: int = 10, seed: int = 17
) -> list[Community]:
    """Group linked entities by hierarchical Leiden.

    Level 0 partitions all linked entities; each community larger than `max_cluster_size` is split again one level
    down, until none is or it cannot be split. Isolated entities and groups of one belong to no community.
    Title, summary and evidence are left empty; `communities.describe_communities` fills them.

    Args:
        entities: their ids bound the graph; links to other ids are an error of the caller.
        relationships: weighted undirected links.
        max_cluster_size: entities in a community that is not split further, at least 2. Default 10, as in the paper
            and in GraphRAG.
        seed: of Leiden's random choices.

    Returns:
        Communities sorted by level, then id; ids come from level and members. Empty when nothing is linked.

    Raises:
        ValueError: if `max_cluster_size` is below 2 or a relationship names an unknown entity.

    Source: Traag, Waltman, van Eck 2019, doi:10.1038/s41598-019-41695-z, as implemented in graspologic-native.
    """
    if max_cluster_size < 2:
        raise ValueError(f"max_cluster_size={max_cluster_size}: a community has at least 2 members")
    unknown = {end for link in relationships for end in (link.source, link.target)} - {entity.id for entity in entities}
    if unknown:
        raise ValueError(f"relationship with an unknown entity {min(unknown)}")
    if not relationships:
        return []
    import graspologic_native

    found = graspologic_native.hierarchical_leiden(
        sorted((link.source, link.target, float(link.weight)) for link in relationships),
        starting_communities=None,
        resolution=1.0,  # plain modularity, the default of graspologic and GraphRAG
        randomness=0.001,
        iterations=1,
        use_modularity=True,
        max_cluster_size=max_cluster_size,
        seed=seed,
    )
    members: dict[int, set[str]] = defaultdict(set)
    level: dict[int, int] = {}
    parent: dict[int, int | None] = {}
    for row in found:
        members[row.cluster].add(row.node)
        level[row.cluster] = row.level
        parent[row.cluster] = row.parent_cluster
    ids = {cluster: content_id("community", level[cluster], *sorted(group)) for cluster, group in members.items()}
    communities = [
        Community(ids[cluster], level[cluster], _parent_id(parent[cluster], ids), tuple(sorted(group)), "", "", ())
        for cluster, group in members.items()
        if len(group) > 1
    ]
    return sorted(communities, key=lambda community: (community.level, community.id))


def _parent_id(cluster: int | None, ids: Mapping[int, str]) -> str:
    return "" if cluster is None else ids[cluster]
