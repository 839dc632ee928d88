import pytest

from ragtune_lib.graph.graphrag_import import UNKNOWN, check_index, import_graphrag, import_texts

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

TEXT = "Chapter one. Ebenezer Scrooge met Marley. Marley was dead. London was cold, said Scrooge."
UNITS = [TEXT[:42], TEXT[42:]]
ENTITIES = [
    {"id": "e1", "title": "SCROOGE", "type": "PERSON", "description": "A miser.", "text_unit_ids": ["u1", "u2"]},
    {"id": "e2", "title": "MARLEY", "type": "PERSON", "description": "His partner.", "text_unit_ids": ["u1", "u2"]},
    {"id": "e3", "title": "LONDON", "type": "GEO", "description": "A city.", "text_unit_ids": ["u2"]},
]
LINKS = [
    {
        "id": "r1",
        "source": "SCROOGE",
        "target": "MARLEY",
        "description": "Partners.",
        "weight": 8.0,
        "text_unit_ids": ["u1"],
    },
    {
        "id": "r2",
        "source": "MARLEY",
        "target": "SCROOGE",
        "description": "Haunts him.",
        "weight": 2.0,
        "text_unit_ids": ["u2"],
    },
    {
        "id": "r3",
        "source": "SCROOGE",
        "target": "TINY TIM",
        "description": "Helps him.",
        "weight": 1.0,
        "text_unit_ids": ["u2"],
    },
]
COMMUNITIES = [
    {"id": "k0", "community": 0, "level": 0, "parent": -1, "title": "Community 0", "entity_ids": ["e1", "e2", "e3"]},
    {"id": "k1", "community": 1, "level": 1, "parent": 0, "title": "Community 1", "entity_ids": ["e1", "e2"]},
]
REPORTS = [
    {
        "id": "p",
        "community": 0,
        "title": "London",
        "summary": "Cold.",
        "full_content": "# London\n\nCold.\n\n## Fog\n\nThick.",
    }
]
DOCUMENTS = [{"id": "d1", "title": "carol 1843-12-19.txt", "text": TEXT}]
TEXT_UNITS = [{"id": f"u{n}", "text": f"title: carol.\n{text}", "document_id": "d1"} for n, text in enumerate(UNITS, 1)]
NEW = {
    "entities": ENTITIES,
    "relationships": LINKS,
    "communities": COMMUNITIES,
    "community_reports": REPORTS,
    "documents": DOCUMENTS,
    "text_units": TEXT_UNITS,
}


def write(folder, tables, prefix=""):
    folder.mkdir(exist_ok=True)
    for name, rows in tables.items():
        pq.write_table(pa.Table.from_pylist(rows), folder / f"{prefix}{name}.parquet")
    return folder


def renamed(rows, **names):
    return [{names.get(key, key): value for key, value in row.items()} for row in rows]


def without(rows, *columns):
    return [{key: value for key, value in row.items() if key not in columns} for row in rows]


def old_tables():
    """The same index as version 0.3 wrote it: other names, no members and no parents in the communities."""
    nodes = [
        {"title": title, "level": level, "community": str(community)}
        for level, community, titles in ((0, 0, ["SCROOGE", "MARLEY", "LONDON"]), (1, 1, ["SCROOGE", "MARLEY"]))
        for title in titles
    ]
    communities = [
        {"id": str(row["community"]), "title": row["title"], "level": row["level"], "relationship_ids": ["r1"]}
        for row in COMMUNITIES
    ]
    return {
        "entities": renamed(ENTITIES, title="name"),
        "relationships": LINKS,
        "nodes": nodes,
        "communities": communities,
        "community_reports": [{**REPORTS[0], "community": "0"}],
        "documents": renamed(DOCUMENTS, text="raw_content"),
        "text_units": [{**without([row], "document_id")[0], "document_ids": ["d1"]} for row in TEXT_UNITS],
    }


@pytest.fixture
def index(tmp_path):
    return import_graphrag(write(tmp_path / "new", NEW))


def by_name(index):
    return {entity.name: entity for entity in index.entities}


def test_names_are_spelled_as_the_text_does_and_types_are_small(index):
    assert {e.name: (e.id, e.kind) for e in index.entities if e.kind != UNKNOWN} == {
        "Scrooge": ("e1", "person"),
        "Marley": ("e2", "person"),
        "London": ("e3", "geo"),
    }
    assert by_name(index)["Scrooge"].description == "A miser."


def test_names_that_are_not_all_in_capitals_stay(tmp_path):
    rows = [{**ENTITIES[0], "type": "Person"}, {**ENTITIES[1], "title": "Marley"}]
    links = [{**LINKS[0], "target": "Marley"}]
    found = import_graphrag(write(tmp_path / "x", {**NEW, "entities": rows, "relationships": links, "communities": []}))
    assert {(e.name, e.kind) for e in found.entities} == {("SCROOGE", "Person"), ("Marley", "PERSON")}


def test_an_end_that_is_no_entity_becomes_one_in_the_chunks_of_its_relationships(index):
    assert index.added == ["TINY TIM"]
    added = by_name(index)["TINY TIM"]
    assert (added.kind, added.description, added.chunk_ids, added.evidence) == (UNKNOWN, "", ("u2",), ())
    assert {"e1", added.id} in [{link.source, link.target} for link in index.relationships]


def test_two_directions_become_one_relationship_and_nothing_of_them_is_lost(index):
    link = next(link for link in index.relationships if link.id == "r1")
    assert (link.source, link.target, link.weight) == ("e1", "e2", 10.0)
    assert (link.description, link.chunk_ids) == ("Partners. Haunts him.", ("u1", "u2"))
    assert (len(index.relationships), index.merged) == (2, 1)
    assert sum(link.weight for link in index.relationships) == sum(row["weight"] for row in LINKS)


def test_chunks_are_spans_of_their_document_without_the_metadata_before_them(index):
    assert [(chunk.id, chunk.text) for chunk in index.chunks] == [("u1", UNITS[0]), ("u2", UNITS[1])]
    assert all(TEXT[chunk.start : chunk.end] == chunk.text for chunk in index.chunks)
    assert index.chunks[0].date == index.documents[0].date == "1843-12-19"


def test_a_text_unit_that_is_no_span_of_its_document_becomes_a_document(tmp_path):
    units = [{"id": "u1", "text": "Not in there. Marley!", "document_id": "d1"}, TEXT_UNITS[1]]
    found = import_graphrag(write(tmp_path / "x", {**NEW, "text_units": units}))
    texts = {document.id: document.text for document in found.documents}
    assert len(texts) == 2
    assert all(texts[chunk.document_id][chunk.start : chunk.end] == chunk.text for chunk in found.chunks)
    assert {chunk.id for chunk in found.chunks} == {"u1", "u2"}


def test_evidence_are_the_sentences_that_name_an_entity_or_both_ends(index):
    assert [s.text for s in by_name(index)["Marley"].evidence] == ["Ebenezer Scrooge met Marley.", "Marley was dead."]
    link = next(link for link in index.relationships if link.id == "r1")
    assert [s.text for s in link.evidence] == ["Ebenezer Scrooge met Marley."]
    assert link.evidence[0].chunk_id == "u1"


def test_communities_nest_and_take_title_and_text_from_their_report(index):
    top, below = index.communities
    assert (top.id, top.level, top.parent_id, top.entity_ids) == ("k0", 0, "", ("e1", "e2", "e3"))
    assert (top.title, top.summary) == ("London", "Cold.\n\n## Fog\n\nThick.")
    assert (below.id, below.parent_id) == ("k1", "k0")
    assert (below.title, below.summary[:28]) == ("Marley, Scrooge", "Ebenezer Scrooge met Marley.")  # by rules
    assert "Marley was dead." in [sentence.text for sentence in below.evidence]


def test_an_index_of_an_old_version_gives_the_same_graph(tmp_path, index):
    old = import_graphrag(write(tmp_path / "old", old_tables(), prefix="create_final_"))
    assert old.entities == index.entities
    assert old.relationships == index.relationships
    assert (old.documents, old.chunks) == (index.documents, index.chunks)
    shape = [(c.level, c.entity_ids, c.title, c.summary) for c in index.communities]
    assert [(c.level, c.entity_ids, c.title, c.summary) for c in old.communities] == shape
    assert old.communities[1].parent_id == old.communities[0].id


def test_without_nodes_members_are_the_ends_of_the_relationships(tmp_path):
    tables = {name: rows for name, rows in old_tables().items() if name != "nodes"}
    old = import_graphrag(write(tmp_path / "old", tables, prefix="create_final_"))
    assert [community.entity_ids for community in old.communities] == [("e1", "e2"), ("e1", "e2")]


def test_what_cannot_be_used_is_a_problem(tmp_path):
    tables = {
        "entities": [*ENTITIES, {**ENTITIES[0], "id": "e9", "title": None, "description": "lost?"}],
        "relationships": [
            *LINKS,
            {**LINKS[0], "id": "r9", "target": "SCROOGE"},
            {**LINKS[0], "id": "r8", "weight": 0.0},
        ],
        "communities": [{**COMMUNITIES[0], "entity_ids": ["e1", "ghost"]}, {**COMMUNITIES[1], "entity_ids": ["ghost"]}],
        "community_reports": [{**REPORTS[0], "community": 7}],
        "documents": DOCUMENTS,
        "text_units": TEXT_UNITS[:1],
    }
    found = import_graphrag(write(tmp_path / "x", tables))
    reasons = [(problem.item, problem.reason, problem.reply) for problem in found.problems]
    assert ("entity, row 3", "no name", "lost?") in reasons
    assert ("relationship SCROOGE - SCROOGE", "row 3: not two ends", "Partners.") in reasons
    assert ("relationship SCROOGE - MARLEY", "row 4: weight 0.0", "Partners.") in reasons
    assert ("community 0", "no entity ghost", "") in reasons
    assert ("community 1", "no members", "") in reasons
    assert ("report 7", "no such community", REPORTS[0]["full_content"]) in reasons
    assert ("entity LONDON", "no text unit u2", "") in reasons
    assert len(found.relationships) + found.merged + 2 == len(tables["relationships"])
    assert all(chunk_id == "u1" for entity in found.entities for chunk_id in entity.chunk_ids)


def test_an_entity_listed_twice_is_one_and_its_community_knows_both_ids(tmp_path):
    twin = {**ENTITIES[0], "id": "e9", "description": "Rich.", "text_unit_ids": []}
    communities = [{**COMMUNITIES[0], "entity_ids": ["e9", "e2"]}]
    found = import_graphrag(write(tmp_path / "x", {**NEW, "entities": [*ENTITIES, twin], "communities": communities}))
    assert by_name(found)["Scrooge"].description == "A miser. Rich."
    assert found.communities[0].entity_ids == ("e1", "e2")
    assert found.merged == 2


def test_the_graph_alone_can_be_read(tmp_path):
    found = import_graphrag(write(tmp_path / "x", {"entities": ENTITIES, "relationships": LINKS}))
    assert (len(found.entities), len(found.relationships), found.chunks, found.communities) == (4, 2, [], [])
    assert [problem.item for problem in found.problems] == found.added == ["TINY TIM"]
    assert {e.id: e.chunk_ids for e in found.entities}["e1"] == ("u1", "u2")


def test_a_folder_that_is_no_index_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"entities\.parquet \(nor create_final_entities\.parquet"):
        import_graphrag(tmp_path)
    write(tmp_path, {"entities": [{"id": "e", "label": "x"}], "relationships": LINKS})
    with pytest.raises(ValueError, match=r"entities\.parquet has no column title or name, but id, label"):
        import_graphrag(tmp_path)
    (tmp_path / "entities.parquet").write_text("no table")
    with pytest.raises(ValueError, match=r"entities\.parquet is no parquet"):
        import_graphrag(tmp_path)


def test_texts_alone_are_those_of_the_whole_index(tmp_path, index):
    assert import_texts(tmp_path / "new") == (index.documents, index.chunks)


def test_an_index_without_a_text_unit_teaches_nothing(tmp_path):
    folder = write(tmp_path / "x", NEW)
    pq.write_table(pa.Table.from_pylist(TEXT_UNITS).slice(0, 0), folder / "text_units.parquet")
    with pytest.raises(ValueError, match="holds no text unit"):
        import_texts(folder)


def test_each_name_that_only_relationships_know_is_a_problem(index):
    assert [(problem.stage, problem.item) for problem in index.problems] == [("02_graph", "TINY TIM")]


def test_every_missing_table_is_named_before_anything_is_read(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        check_index(tmp_path / "none")
    folder = write(tmp_path / "x", {"entities": ENTITIES})
    with pytest.raises(FileNotFoundError, match=r"it lacks text_units\.parquet, relationships\.parquet$"):
        check_index(folder)
    for tables, prefix in ((NEW, ""), (old_tables(), "create_final_")):
        check_index(write(tmp_path / f"whole{prefix}", tables, prefix))


@pytest.mark.parametrize("inside", ["output", "output/20240712-101010/artifacts"])
def test_the_folder_that_was_meant_is_named(tmp_path, inside):
    (tmp_path / inside).mkdir(parents=True)
    write(tmp_path / inside, NEW)
    with pytest.raises(FileNotFoundError, match=f"did you mean {tmp_path / inside}"):
        check_index(tmp_path)
