import random
from dataclasses import replace

import networkx
import pytest

from ragtune_lib.graph.build import build_graph, detect_communities
from ragtune_lib.graph.communities import describe_communities
from ragtune_lib.graph.extract import extract_mentions
from ragtune_lib.graph.graphrag_export import export_graphml, export_parquet
from ragtune_lib.graph.graphrag_import import import_graphrag
from ragtune_lib.records import Chunk, Community, Document, Entity, Relationship

pq = pytest.importorskip("pyarrow.parquet")
PEOPLE = ["Ilse Brandt", "Tomas", "Ada Lovelace", "Bremen", "Oslo", "Keziah", "Marit", "Copper Whisk"]


def corpus(seed):
    rng = random.Random(seed)
    documents, chunks = [], []
    for number in range(6):
        text = " ".join(f"We saw {a} and {b} \u2014 $name {{x}}." for a, b in [rng.sample(PEOPLE, 2) for _ in range(8)])
        documents.append(Document(f"d{number}", f"notes/{number}.md", f"Day {number}", text, f"2025-01-0{number + 1}"))
        half = len(text) // 2
        for start, end in ((0, half + 30), (half - 30, len(text))):  # overlapping
            chunks.append(Chunk(f"c{number}-{start}", f"d{number}", start, end, text[start:end], documents[-1].date))
    return documents, chunks


def graph(seed):
    documents, chunks = corpus(seed)
    entities, links = build_graph(extract_mentions(chunks), chunks)
    communities = detect_communities(entities, links, max_cluster_size=3, seed=seed)
    return documents, chunks, entities, links, describe_communities(communities, entities, links)


def read_back(folder, parts):
    export_parquet(folder, *parts)
    found = import_graphrag(folder)
    return found, (found.documents, found.chunks, found.entities, found.relationships, found.communities)


@pytest.mark.parametrize("seed", range(3))
def test_a_graph_that_goes_out_and_comes_back_is_the_same(tmp_path, seed):
    parts = graph(seed)
    assert all(parts)
    found, back = read_back(tmp_path / "out", parts)
    assert back == parts
    assert (found.problems, found.added, found.merged) == ([], [], 0)


def test_communities_without_a_description_come_back_without(tmp_path):
    parts = graph(0)
    bare = [replace(community, title="", summary="", evidence=()) for community in parts[4]]
    found, _ = read_back(tmp_path, (*parts[:4], bare))
    assert found.communities == bare


def test_an_empty_graph_goes_out_and_comes_back(tmp_path):
    found, back = read_back(tmp_path, ([], [], [], [], []))
    assert back == ([], [], [], [], [])
    assert found.problems == []


def test_the_tables_are_what_graphrag_reads(tmp_path):
    parts = graph(0)
    files = {path.stem: pq.read_table(path).to_pylist() for path in export_parquet(tmp_path, *parts)}
    assert sorted(files) == [
        "communities", "community_reports", "documents", "entities", "relationships", "text_units",
    ]  # fmt: skip
    titles = {row["title"]: row for row in files["entities"]}
    assert len(titles) == len(parts[2])
    degree = dict.fromkeys(titles, 0)
    for row in files["relationships"]:
        degree[row["source"]] += 1
        degree[row["target"]] += 1
    assert {title: row["degree"] for title, row in titles.items()} == degree
    assert all(
        row["combined_degree"] == degree[row["source"]] + degree[row["target"]] for row in files["relationships"]
    )
    by_number = {row["community"]: row for row in files["communities"]}
    for row in files["communities"]:
        assert (row["parent"] == -1) == (row["level"] == 0)
        assert all(by_number[child]["parent"] == row["community"] for child in row["children"])
        ids = {
            titles[end]["id"]
            for link in files["relationships"]
            if link["id"] in row["relationship_ids"]
            for end in (link["source"], link["target"])
        }
        assert ids <= set(row["entity_ids"])
    assert any(row["children"] for row in files["communities"])
    report = files["community_reports"][0]
    assert report["full_content"] == f"# {report['title']}\n\n{parts[4][0].summary}"
    for unit in files["text_units"]:
        assert set(unit["entity_ids"]) == {e.id for e in parts[2] if unit["id"] in e.chunk_ids}


def test_two_entities_of_one_name_stay_two(tmp_path):
    entities = [Entity(f"e{n}", name, "person", "", (), ("c",)) for n, name in enumerate(["Ann", "Ann", "Ann (2)"])]
    links = [Relationship("r", "e0", "e1", 1.0, "", (), ()), Relationship("s", "e1", "e2", 2.0, "", (), ())]
    export_parquet(tmp_path, [], [], entities, links, [])
    found = import_graphrag(tmp_path)
    assert found.relationships == links
    assert [entity.name for entity in found.entities] == ["Ann", "Ann (3)", "Ann (2)"]


def test_a_graph_with_an_unknown_entity_is_refused(tmp_path):
    link = Relationship("r", "e0", "ghost", 1.0, "", (), ())
    with pytest.raises(ValueError, match="unknown entity e0"):
        export_parquet(tmp_path, [], [], [], [link], [])


def test_graphml_opens_in_networkx_with_hostile_text(tmp_path):
    name = 'A & B <x> "q" \x00\x0b\ud800 \U0001f600 ]]>'
    entities = [Entity("a", name, "person", "d\x1f", (), ()), Entity("b", "B", "geo", "", (), ())]
    links = [Relationship("r", "a", "b", 2.5, "<script>", (), ())]
    groups = [Community("k", 0, "", ("a", "b"), "", "", ()), Community("l", 1, "k", ("a",), "", "", ())]
    export_graphml(tmp_path / "g.graphml", entities, links, groups)
    found = networkx.read_graphml(tmp_path / "g.graphml")
    assert found.nodes["a"]["label"] == 'A & B <x> "q"  \U0001f600 ]]>'
    assert (found.nodes["a"]["kind"], found.nodes["a"]["description"]) == ("person", "d")
    assert (found.nodes["b"]["community_0"], found.nodes["b"].get("community_1", "")) == ("k", "")
    assert (found.edges["a", "b"]["weight"], found.edges["a", "b"]["description"]) == (2.5, "<script>")
    assert found.number_of_edges() == 1
