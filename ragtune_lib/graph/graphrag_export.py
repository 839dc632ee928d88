"""Writing the graph for other programs: GraphRAG's parquet tables, GraphML and GEXF for Gephi and networkx."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ragtune_lib.records import Chunk, Community, Document, Entity, Relationship, Sentence
from ragtune_lib.store import write_bytes, write_text

if TYPE_CHECKING:
    import pyarrow as pa

LETTERS_PER_TOKEN = 4  # of English text, roughly; GraphRAG only shows the number
NOT_IN_XML = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # XML 1.0, production 2


def export_parquet(
    folder: Path,
    documents: Sequence[Document],
    chunks: Sequence[Chunk],
    entities: Sequence[Entity],
    relationships: Sequence[Relationship],
    communities: Sequence[Community],
) -> list[Path]:
    """Write the six tables of a GraphRAG index (columns of version 3), so that its searches can read the graph.

    What GraphRAG has no column for (evidence, dates, offsets) stands in columns of its own, `ragtune_...`, which
    GraphRAG passes over; `graphrag_import.import_graphrag` reads them back, so nothing is lost on the way. Two entities
    of one name are told apart by a number after it, since GraphRAG's relationships name their ends. `n_tokens` is an
    estimate; `rank` of a report is its share of the entities, 0 to 10.

    Args:
        folder: made if it is missing; files of these names are replaced.
        documents: the corpus; may be empty.
        chunks: its chunks; may be empty.
        entities: the nodes.
        relationships: the edges.
        communities: groups of them, described or not.

    Returns:
        The files written.

    Raises:
        ValueError: if a relationship or a community names an unknown entity.
    """
    known = {entity.id for entity in entities}
    ends = {end for link in relationships for end in (link.source, link.target)}
    if lost := sorted((ends | {one for group in communities for one in group.entity_ids}) - known):
        raise ValueError(f"the graph names an unknown entity {lost[0]}")
    by_document: dict[str, list[str]] = defaultdict(list)
    for chunk in chunks:
        by_document[chunk.document_id].append(chunk.id)
    tables = {
        "documents": [_document(number, document, by_document) for number, document in enumerate(documents)],
        "text_units": _text_units(chunks, entities, relationships),
        "entities": _entities(entities, relationships),
        "relationships": _relationships(entities, relationships),
        "communities": _communities(communities, entities, relationships),
        "community_reports": _reports(communities, entities),
    }
    folder.mkdir(parents=True, exist_ok=True)
    return [_write(folder / f"{name}.parquet", rows, name) for name, rows in tables.items()]


def _document(number: int, document: Document, by_document: Mapping[str, list[str]]) -> dict[str, Any]:
    return {
        "id": document.id,
        "human_readable_id": number,
        "title": document.title,
        "text": document.text,
        "text_unit_ids": by_document[document.id],
        "creation_date": document.date,
        "raw_data": None,
        "ragtune_name": document.name,
        "ragtune_date": document.date,
    }


def _text_units(
    chunks: Sequence[Chunk], entities: Sequence[Entity], relationships: Sequence[Relationship]
) -> list[dict[str, Any]]:
    named: dict[str, list[str]] = defaultdict(list)
    linked: dict[str, list[str]] = defaultdict(list)
    for inside, records in ((named, entities), (linked, relationships)):
        for record in records:
            for chunk_id in record.chunk_ids:
                inside[chunk_id].append(record.id)
    return [
        {
            "id": chunk.id,
            "human_readable_id": number,
            "text": chunk.text,
            "n_tokens": len(chunk.text) // LETTERS_PER_TOKEN + 1,
            "document_id": chunk.document_id,
            "entity_ids": named[chunk.id],
            "relationship_ids": linked[chunk.id],
            "covariate_ids": [],
            "ragtune_start": chunk.start,
        }
        for number, chunk in enumerate(chunks)
    ]


def _titles(entities: Sequence[Entity]) -> dict[str, str]:
    """A name for each entity id that no other entity has."""
    taken = {entity.name for entity in entities}
    seen: set[str] = set()
    titles = {}
    for entity in entities:
        title, number = entity.name, 1
        while title in seen or (number > 1 and title in taken):
            number += 1
            title = f"{entity.name} ({number})"
        seen.add(title)
        titles[entity.id] = title
    return titles


def _degrees(relationships: Sequence[Relationship]) -> Counter[str]:
    return Counter(end for link in relationships for end in (link.source, link.target))


def _evidence(sentences: Sequence[Sentence]) -> list[dict[str, Any]]:
    return [
        {"text": one.text, "chunk_id": one.chunk_id, "date": one.date, "position": one.position} for one in sentences
    ]


def _entities(entities: Sequence[Entity], relationships: Sequence[Relationship]) -> list[dict[str, Any]]:
    degree, titles = _degrees(relationships), _titles(entities)
    return [
        {
            "id": entity.id,
            "human_readable_id": number,
            "title": titles[entity.id],
            "type": entity.kind,
            "description": entity.description,
            "text_unit_ids": list(entity.chunk_ids),
            "frequency": len(entity.chunk_ids),
            "degree": degree[entity.id],
            "ragtune_evidence": _evidence(entity.evidence),
        }
        for number, entity in enumerate(entities)
    ]


def _relationships(entities: Sequence[Entity], relationships: Sequence[Relationship]) -> list[dict[str, Any]]:
    degree, titles = _degrees(relationships), _titles(entities)
    return [
        {
            "id": link.id,
            "human_readable_id": number,
            "source": titles[link.source],
            "target": titles[link.target],
            "description": link.description,
            "weight": link.weight,
            "combined_degree": degree[link.source] + degree[link.target],
            "text_unit_ids": list(link.chunk_ids),
            "ragtune_evidence": _evidence(link.evidence),
        }
        for number, link in enumerate(relationships)
    ]


def _family(communities: Sequence[Community]) -> dict[str, dict[str, Any]]:
    """What a community and its report both say about its place in the hierarchy, by id."""
    numbers = {community.id: number for number, community in enumerate(communities)}
    children: dict[str, list[int]] = defaultdict(list)
    for community in communities:
        children[community.parent_id].append(numbers[community.id])
    return {
        community.id: {
            "human_readable_id": numbers[community.id],
            "community": numbers[community.id],
            "level": community.level,
            "parent": numbers.get(community.parent_id, -1),
            "children": children[community.id],
            "period": "",
            "size": len(community.entity_ids),
        }
        for community in communities
    }


def _communities(
    communities: Sequence[Community], entities: Sequence[Entity], relationships: Sequence[Relationship]
) -> list[dict[str, Any]]:
    chunk_ids = {entity.id: entity.chunk_ids for entity in entities}
    links: dict[str, list[Relationship]] = defaultdict(list)
    for link in relationships:
        links[link.source].append(link)
    family, rows = _family(communities), []
    for number, community in enumerate(communities):
        inside = set(community.entity_ids)
        own = [link.id for member in community.entity_ids for link in links[member] if link.target in inside]
        rows.append(
            {
                **family[community.id],
                "id": community.id,
                "title": f"Community {number}",
                "entity_ids": list(community.entity_ids),
                "relationship_ids": sorted(own),
                "text_unit_ids": sorted({one for member in community.entity_ids for one in chunk_ids[member]}),
                "ragtune_evidence": _evidence(community.evidence),
            }
        )
    return rows


def _reports(communities: Sequence[Community], entities: Sequence[Entity]) -> list[dict[str, Any]]:
    """A report for each community that has a title or a summary."""
    family = _family(communities)
    return [
        {
            **family[community.id],
            "id": community.id,
            "title": community.title,
            "summary": community.summary.split("\n\n", 1)[0],
            "full_content": f"# {community.title}\n\n{community.summary}",
            "rank": 10 * len(community.entity_ids) / len(entities),
            "rating_explanation": "",
            "findings": [],
            "full_content_json": "",
        }
        for community in communities
        if community.title or community.summary
    ]


def _write(path: Path, rows: Sequence[Mapping[str, Any]], table: str) -> Path:
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = _schema(table)
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist([dict(row) for row in rows], schema), sink)
    write_bytes(path, [sink.getvalue()])
    return path


def _schema(table: str) -> pa.Schema:
    """Columns and types of one table, so that an empty one has them too."""
    import pyarrow as pa

    text, whole, number = pa.string(), pa.int64(), pa.float64()
    texts, wholes = pa.list_(text), pa.list_(whole)
    sentences = pa.list_(pa.struct([("text", text), ("chunk_id", text), ("date", text), ("position", whole)]))
    findings = pa.list_(pa.struct([("explanation", text), ("summary", text)]))
    start = {"id": text, "human_readable_id": whole}
    place = {**start, "community": whole, "level": whole, "parent": whole, "children": wholes, "title": text}
    end = {"period": text, "size": whole}
    columns = {
        "documents": {
            **start, "title": text, "text": text, "text_unit_ids": texts, "creation_date": text, "raw_data": text,
            "ragtune_name": text, "ragtune_date": text,
        },
        "text_units": {
            **start, "text": text, "n_tokens": whole, "document_id": text, "entity_ids": texts,
            "relationship_ids": texts, "covariate_ids": texts, "ragtune_start": whole,
        },
        "entities": {
            **start, "title": text, "type": text, "description": text, "text_unit_ids": texts, "frequency": whole,
            "degree": whole, "ragtune_evidence": sentences,
        },
        "relationships": {
            **start, "source": text, "target": text, "description": text, "weight": number, "combined_degree": whole,
            "text_unit_ids": texts, "ragtune_evidence": sentences,
        },
        "communities": {
            **place, "entity_ids": texts, "relationship_ids": texts, "text_unit_ids": texts, **end,
            "ragtune_evidence": sentences,
        },
        "community_reports": {
            **place, "summary": text, "full_content": text, "rank": number, "rating_explanation": text,
            "findings": findings, "full_content_json": text, **end,
        },
    }  # fmt: skip
    return pa.schema(list(columns[table].items()))


def export_graphml(
    path: Path,
    entities: Sequence[Entity],
    relationships: Sequence[Relationship],
    communities: Sequence[Community] = (),
) -> None:
    """Write the graph as GraphML: Gephi, yEd, Cytoscape and `networkx.read_graphml` open it.

    Nodes carry label, kind, description, the number of their sentences, and the community at each level
    (`community_0` is the coarsest; "" where there is none). Edges carry weight and description. Characters that XML
    cannot hold are left out.

    Args:
        path: the file, replaced as a whole.
        entities: the nodes.
        relationships: the edges.
        communities: groups of them; their titles are left out.
    """
    import networkx

    graph = _network(entities, relationships, communities)
    write_text(path, "".join(networkx.generate_graphml(graph)) + "\n")


def export_gexf(
    path: Path,
    entities: Sequence[Entity],
    relationships: Sequence[Relationship],
    communities: Sequence[Community] = (),
) -> None:
    """Write the graph as GEXF, the format of Gephi; content and arguments as for `export_graphml`.

    The day of writing, which the format asks for, is left out: the same graph gives the same file.
    """
    import networkx

    graph = _network(entities, relationships, communities)
    page = "\n".join(networkx.generate_gexf(graph))
    undated = re.sub(r"\s*<meta .*?</meta>", "", page, count=1, flags=re.DOTALL)
    write_text(path, f'<?xml version="1.0" encoding="utf-8"?>\n{undated}\n')


def _network(
    entities: Sequence[Entity], relationships: Sequence[Relationship], communities: Sequence[Community]
) -> Any:
    """The graph for networkx; several relationships of the same two entities are several edges."""
    import networkx

    levels = sorted({community.level for community in communities})
    at = {(community.level, member): community.id for community in communities for member in community.entity_ids}
    shared = Counter((link.source, link.target) for link in relationships)
    graph = networkx.MultiGraph() if max(shared.values(), default=1) > 1 else networkx.Graph()
    for entity in entities:
        groups = {f"community_{level}": at.get((level, entity.id), "") for level in levels}
        told = {"label": _legal(entity.name), "kind": _legal(entity.kind), "description": _legal(entity.description)}
        graph.add_node(_legal(entity.id), **told, sentences=len(entity.evidence), **groups)
    for link in relationships:
        description = _legal(link.description)
        graph.add_edge(_legal(link.source), _legal(link.target), weight=link.weight, description=description)
    return graph


def _legal(text: str) -> str:
    return NOT_IN_XML.sub("", text)
