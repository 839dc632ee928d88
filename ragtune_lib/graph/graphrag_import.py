"""Reading an index that GraphRAG made: its parquet tables become documents, chunks and the entity graph.

Tables and columns were renamed between versions 0.1 and 3 (`create_final_entities.parquet` with `name`, later
`entities.parquet` with `title`; the members of a community stood in a table of nodes before they stood beside it).
Each is looked for under all its names, so one reader does for all versions.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ragtune_lib.graph.communities import describe_communities
from ragtune_lib.graph.evidence import spelled_as_in_text, with_evidence
from ragtune_lib.records import Chunk, Community, Document, Entity, Problem, Relationship, Sentence
from ragtune_lib.store import content_id
from ragtune_lib.text import date_of, joined

STAGE = "02_graph"
UNKNOWN = "unknown"  # kind of an entity that only relationships name
NEEDED = ("text_units", "entities", "relationships")  # without one of these there is nothing to learn from
METADATA = re.compile(r"(?:[\w ]+: .*\.\n)+")  # what GraphRAG may put before a text unit, one "key: value." a line
Row = Mapping[str, Any]


@dataclass(slots=True)
class Index:
    """An index as records. Every row of it is in a record, in a problem, or counted as merged into another row's."""

    documents: list[Document] = field(default_factory=list)
    chunks: list[Chunk] = field(default_factory=list)  # in reading order
    entities: list[Entity] = field(default_factory=list)  # sorted by id
    relationships: list[Relationship] = field(default_factory=list)  # sorted by id
    communities: list[Community] = field(default_factory=list)  # sorted by level, then id
    problems: list[Problem] = field(default_factory=list)
    added: list[str] = field(default_factory=list)  # names that only relationships name: entities made here
    merged: int = 0  # rows put together with an earlier one: an entity of the same name, a link with the same ends


def check_index(folder: Path) -> None:
    """See whether a folder holds what a run needs; nothing is read.

    Raises:
        FileNotFoundError: if there is no such folder, or a table is missing; names all that are, and the folder that
            was probably meant.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"graphrag: there is no folder {folder}")
    if missing := _missing(folder):
        inside = [one for pattern in ("*", "output/*/artifacts") for one in sorted(folder.glob(pattern))]
        meant = next((f"; did you mean {one}?" for one in inside if not _missing(one)), "")
        raise FileNotFoundError(f"graphrag: {folder} is no index of GraphRAG, it lacks {', '.join(missing)}{meant}")


def _missing(folder: Path) -> list[str]:
    return [f"{table}.parquet" for table in NEEDED if _path(folder, table) is None]


def import_texts(folder: Path) -> tuple[list[Document], list[Chunk]]:
    """The documents and chunks of an index alone, as `import_graphrag` gives them.

    Raises:
        ValueError: if the index holds no text unit, or a table is no parquet; names the file.
    """
    documents, chunks = _texts(_read(folder, "documents", optional=True), _read(folder, "text_units"))
    if not chunks:
        raise ValueError(f"{folder}: text_units.parquet holds no text unit")
    return documents, chunks


def import_graphrag(folder: Path) -> Index:
    """Read the output folder of GraphRAG, or one that `graphrag_export.export_parquet` wrote.

    Ids stay as they are. What GraphRAG does otherwise than our records:

    - A relationship may name an end that is no entity (4 to 5 % of the ends are usual). Such an end becomes an entity
      of kind "unknown" without description, in the chunks of its relationships. Each is a problem; `added` lists them.
    - Relationships have a direction there. Rows with the same two ends become one: weights are summed, descriptions
      joined, chunks united.
    - Names and types are in capitals there. Where all are, types are read in lower case and names in the spelling that
      is most frequent in their chunks.
    - A community without a report gets title and summary by the rules of `communities.describe_communities`.
    - It keeps no evidence. Evidence are the sentences of an entity's chunks that name it, of a relationship those that
      name both ends; what the text names in other words has none.
    - A text unit may begin with lines of metadata, or join several documents. One that is no span of its document
      becomes a document of its own.

    Args:
        folder: holds `entities.parquet` and `relationships.parquet`, or `create_final_entities.parquet` and so on. The
            other tables (documents, text_units, communities, community_reports, nodes) may be missing.

    Returns:
        The records, and a problem for each row or reference that cannot be used.

    Raises:
        FileNotFoundError: if there are no entities or no relationships; says which files were looked for.
        ValueError: if a table lacks a column that is needed, or is no parquet; names the file.
    """
    found = _read(folder, "entities", (("title", "name"),))
    links = _read(folder, "relationships", (("source",), ("target",)))
    units = _read(folder, "text_units", optional=True)
    index = Index()
    index.documents, index.chunks = _texts(_read(folder, "documents", optional=True), units)
    known = {chunk.id for chunk in index.chunks} if units else None
    by_title, ids = _entities(found, known, index)
    _add_ends(links, by_title, known, index)
    relationships, link_ends = _relationships(links, by_title, known, index)
    entities = list(by_title.values())
    if not any("ragtune_evidence" in row for row in found):
        if _in_capitals(entity.name for entity in entities):
            entities = spelled_as_in_text(entities, index.chunks)
        entities, relationships = with_evidence(entities, relationships, index.chunks)
    index.entities = sorted(entities, key=lambda entity: entity.id)
    index.relationships = sorted(relationships, key=lambda link: link.id)
    by_name = {title: entity.id for title, entity in by_title.items()}
    members = _members(folder, ids, by_name, link_ends, index)
    index.communities = _communities(folder, members, index)
    return index


def _read(folder: Path, table: str, needed: Sequence[Sequence[str]] = (), optional: bool = False) -> list[Row]:
    """Rows of one table under its new or its old file name; [] for an optional one that is not there."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = _path(folder, table)
    if path is None:
        if optional:
            return []
        names = f"{table}.parquet (nor create_final_{table}.parquet)"
        raise FileNotFoundError(f"{folder} holds no {names}: is it GraphRAG's output folder?")
    try:
        read = pq.read_table(path)
    except pa.ArrowInvalid as error:
        raise ValueError(f"{path.name} is no parquet table: {error}") from error
    for columns in needed:
        if not set(columns) & set(read.column_names):
            raise ValueError(f"{path.name} has no column {' or '.join(columns)}, but {', '.join(read.column_names)}")
    return read.to_pylist()


def _path(folder: Path, table: str) -> Path | None:
    """The file of a table under its new or its old name, None where there is none."""
    names = (f"{table}.parquet", f"create_final_{table}.parquet")
    return next((folder / name for name in names if (folder / name).is_file()), None)


def _get(row: Row, *columns: str, default: Any = "") -> Any:
    """The first of some columns that is there and filled."""
    return next((row[column] for column in columns if row.get(column) is not None), default)


def _ids(row: Row, *columns: str) -> list[str]:
    """A list of ids; the oldest tables write it as one text with commas."""
    value = _get(row, *columns, default=())
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else list(value)


def _texts(rows: Sequence[Row], units: Sequence[Row]) -> tuple[list[Document], list[Chunk]]:
    """Documents, and text units as exact spans of them."""
    documents: dict[str, Document] = {}
    for row in rows:
        text, title = _get(row, "text", "raw_content"), str(_get(row, "title"))
        document_id = str(_get(row, "id", default="")) or content_id(title, text)
        name = _get(row, "ragtune_name", default=title or document_id)
        date = _get(row, "ragtune_date", default=date_of(title))
        documents[document_id] = Document(document_id, name, title, text, date)
    chunks, reached = [], dict.fromkeys(documents, 0)
    for row in units:
        text = _get(row, "text", "chunk")
        unit_id = str(_get(row, "id", "chunk_id", default="")) or content_id(text)
        wanted = [at for at in [*_ids(row, "document_ids"), _get(row, "document_id")] if at in documents]
        start = row.get("ragtune_start")
        if start is None or not wanted:  # the place is in a document that is not there
            start, text = _place(documents[wanted[0]].text, text, reached[wanted[0]]) if wanted else (-1, text)
        if start < 0:  # a document of its own, so that every chunk is a span of its document
            home = Document(content_id("unit", unit_id), f"text unit {unit_id}", "", text, "")
            start = 0
            documents[home.id] = home
        else:
            home = documents[wanted[0]]
            reached[home.id] = start + 1
        chunks.append(Chunk(unit_id, home.id, start, start + len(text), text, home.date))
    order = {document_id: rank for rank, document_id in enumerate(documents)}
    return list(documents.values()), sorted(chunks, key=lambda chunk: (order[chunk.document_id], chunk.start))


def _place(document: str, unit: str, reached: int) -> tuple[int, str]:
    """Where a text unit begins in its document, and its text without the metadata before it; -1 if nowhere.

    Units are in reading order, so a passage that occurs twice is looked for after the unit before.
    """
    bare = METADATA.sub("", unit, count=1) if METADATA.match(unit) else unit
    for text in (unit, bare, bare.strip("\ufffd")):  # GraphRAG cuts by tokens, now and then within a letter
        for begin in (reached, 0):
            if text and (start := document.find(text, begin)) >= 0:
                return start, text
    return -1, unit


def _entities(rows: Sequence[Row], known: set[str] | None, index: Index) -> tuple[dict[str, Entity], dict[str, str]]:
    """Entities by title, and for each id of a row the id of its entity."""
    shouted = _in_capitals(_get(row, "type") for row in rows)
    entities: dict[str, Entity] = {}
    ids: dict[str, str] = {}
    for number, row in enumerate(rows):
        title = str(_get(row, "title", "name"))
        if not title.strip():
            index.problems.append(Problem(STAGE, f"entity, row {number}", "no name", str(_get(row, "description"))))
            continue
        kind = str(_get(row, "type"))
        entity = Entity(
            str(_get(row, "id", default="")) or content_id("entity", title),
            title,
            (kind.lower() if shouted else kind) or UNKNOWN,
            str(_get(row, "description")),
            _evidence(row),
            _known(_ids(row, "text_unit_ids"), known, f"entity {title}", index),
        )
        if title in entities:
            index.merged += 1
            entity = replace(
                entities[title],
                description=joined([entities[title].description, entity.description]),
                chunk_ids=tuple(sorted({*entities[title].chunk_ids, *entity.chunk_ids})),
            )
        entities[title] = entity
        ids[str(_get(row, "id"))] = entity.id
    return entities, ids


def _known(chunk_ids: Iterable[str], known: set[str] | None, item: str, index: Index) -> tuple[str, ...]:
    """Chunk ids in order; each that names no text unit is a problem. Without a table of text units all are kept."""
    distinct = sorted(set(chunk_ids))
    if known is not None:
        lost = [chunk_id for chunk_id in distinct if chunk_id not in known]
        index.problems += [Problem(STAGE, item, f"no text unit {chunk_id}") for chunk_id in lost]
        distinct = [chunk_id for chunk_id in distinct if chunk_id in known]
    return tuple(distinct)


def _evidence(row: Row) -> tuple[Sentence, ...]:
    return tuple(Sentence(**sentence) for sentence in _get(row, "ragtune_evidence", default=()))


def _in_capitals(texts: Iterable[Any]) -> bool:
    """Whether no letter of any text is small, but some are capital."""
    whole = "".join(map(str, texts))
    return whole.upper() == whole != whole.lower()


def _add_ends(rows: Sequence[Row], entities: dict[str, Entity], known: set[str] | None, index: Index) -> None:
    """Make an entity of each end of a relationship that is none."""
    chunk_ids: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        ends = {str(_get(row, "source")), str(_get(row, "target"))}
        for title in sorted(ends) if len(ends) == 2 and all(end.strip() for end in ends) else ():
            if title not in entities:
                chunk_ids[title].update(_ids(row, "text_unit_ids"))
    for title, found in chunk_ids.items():
        at = tuple(sorted(found if known is None else found & known))
        entities[title] = Entity(content_id("entity", title), title, UNKNOWN, "", (), at)
    index.added = list(chunk_ids)
    lacking = "named by relationships alone, so it has neither type nor description"
    index.problems += [Problem(STAGE, title, lacking) for title in index.added]


def _relationships(
    rows: Sequence[Row], entities: Mapping[str, Entity], known: set[str] | None, index: Index
) -> tuple[list[Relationship], dict[str, tuple[str, str]]]:
    """Undirected relationships, and the ends of each row's id."""
    links: dict[tuple[str, str], Relationship] = {}
    by_row: dict[str, tuple[str, str]] = {}
    for number, row in enumerate(rows):
        names = str(_get(row, "source")), str(_get(row, "target"))
        description, item = str(_get(row, "description")), f"relationship {names[0]} - {names[1]}"
        weight = float(_get(row, "weight", default=1.0))
        if names[0] == names[1] or not all(name.strip() for name in names) or not weight > 0:
            reason = f"row {number}: weight {weight}" if not weight > 0 else f"row {number}: not two ends"
            index.problems.append(Problem(STAGE, item, reason, description))
            continue
        source, target = sorted(entities[name].id for name in names)
        link_id = str(_get(row, "id", default="")) or content_id(source, target)
        at = _known(_ids(row, "text_unit_ids"), known, item, index)
        link = Relationship(link_id, source, target, weight, description, _evidence(row), at)
        by_row[link_id] = source, target
        if (source, target) in links:
            index.merged += 1
            first = links[source, target]
            link = replace(
                first,
                weight=first.weight + weight,
                description=joined([first.description, description]),
                chunk_ids=tuple(sorted({*first.chunk_ids, *at})),
            )
        links[source, target] = link
    return list(links.values()), by_row


def _members(
    folder: Path,
    ids: Mapping[str, str],
    titles: Mapping[str, str],
    link_ends: Mapping[str, tuple[str, str]],
    index: Index,
) -> dict[str, set[str]]:
    """Entity ids of each community, by its number: its own list, else the table of nodes, else its relationships."""
    members: dict[str, set[str]] = defaultdict(set)
    for row in _read(folder, "nodes", optional=True):
        if row.get("community") is not None and (title := str(_get(row, "title", "name"))) in titles:
            members[_number(row)].add(titles[title])
    for row in _read(folder, "communities", optional=True):
        number = _number(row)
        if row.get("entity_ids") is not None:
            members[number] = {ids[one] for one in _ids(row, "entity_ids") if one in ids}
            lost = [one for one in _ids(row, "entity_ids") if one not in ids]
            index.problems += [Problem(STAGE, f"community {number}", f"no entity {one}") for one in lost]
        elif number not in members:
            found = [link_ends.get(link_id, ()) for link_id in _ids(row, "relationship_ids")]
            members[number] = {end for ends in found for end in ends}
    return members


def _number(row: Row) -> str:
    """The number of a community; some versions write it as text or as 3.0."""
    return _whole(_get(row, "community", "raw_community", "id"))


def _whole(value: Any) -> str:
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _communities(folder: Path, members: Mapping[str, set[str]], index: Index) -> list[Community]:
    rows = {_number(row): row for row in _read(folder, "communities", optional=True)}
    reports = {_number(row): row for row in _read(folder, "community_reports", optional=True)}
    index.problems += [
        Problem(STAGE, f"report {number}", "no such community", str(_get(row, "full_content", "summary")))
        for number, row in reports.items()
        if number not in rows
    ]
    made: dict[str, Community] = {}
    for number, row in sorted(rows.items(), key=lambda item: int(_get(item[1], "level", default=0))):
        if not members[number]:
            index.problems.append(Problem(STAGE, f"community {number}", "no members"))
            continue
        level, group = int(_get(row, "level", default=0)), tuple(sorted(members[number]))
        community_id = str(_get(row, "id", default=""))
        if community_id in ("", number):  # the oldest versions have no id but the number
            community_id = content_id("community", level, *group)
        title, summary = _report(reports.get(number, {}), str(_get(row, "title")), number)
        parent = _parent(row, level, group, made)
        made[number] = Community(community_id, level, parent, group, title, summary, _evidence(row))
    found = list(made.values())
    if not any("ragtune_evidence" in row for row in rows.values()):
        by_rules = describe_communities(found, index.entities, index.relationships)
        found = [
            replace(ruled, title=one.title or ruled.title, summary=one.summary or ruled.summary)
            for one, ruled in zip(found, by_rules, strict=True)
        ]
    return sorted(found, key=lambda community: (community.level, community.id))


def _report(report: Row, title: str, number: str) -> tuple[str, str]:
    """Title and text of a community: its report with all findings; "" and "" where there is none."""
    if not report:
        return "" if title == f"Community {number}" else title, ""
    title = str(_get(report, "title", default=title))
    content = str(_get(report, "full_content", "summary"))
    return title, content.removeprefix(f"# {title}\n\n")


def _parent(row: Row, level: int, group: Sequence[str], made: Mapping[str, Community]) -> str:
    """Id of the community above; in versions that do not name it, the one that holds most of the members."""
    if level == 0:
        return ""
    if row.get("parent") is not None:
        above = made.get(_whole(row["parent"]))
        return above.id if above else ""
    shared = {one.id: len({*group} & {*one.entity_ids}) for one in made.values() if one.level == level - 1}
    best = min(shared, key=lambda community_id: (-shared[community_id], community_id), default="")
    return best if best and shared[best] else ""
