"""Notebooks 01 and 02 in this process and without weights: an index as the source, decisions about names, exports."""

import json
import shutil
from dataclasses import replace

import cells
import networkx
import pytest
from test_graphrag_import import NEW, REPORTS, write

from ragtune_lib import report
from ragtune_lib.graph.alias_merge import AliasReview
from ragtune_lib.graph.edits import GraphEdits
from ragtune_lib.graph.graphrag_import import import_graphrag
from ragtune_lib.plan import told_plan
from ragtune_lib.records import Chunk, Community, Document, Entity, Problem, QAPair, Question, Relationship
from ragtune_lib.report import run_report
from ragtune_lib.runfile import Run
from ragtune_lib.stages import STAGES
from ragtune_lib.store import ROOT, read_json, read_records

ENTRIES = ("2025-01-04", "2025-01-12")
KINDS = {
    "documents": Document, "chunks": Chunk, "entities": Entity, "relationships": Relationship, "communities": Community
}  # fmt: skip


@pytest.fixture
def counted(monkeypatch):
    """Which stages were executed, in order."""
    cells.without_weights(monkeypatch)
    done = []

    def execute(notebook, output, parameters):
        done.append(notebook.stem)
        return cells.execute(notebook, output, parameters)

    monkeypatch.setattr(report, "execute", execute)
    return done


@pytest.fixture
def index_run(tmp_path, counted):
    return Run("index", graphrag=str(write(tmp_path / "index", NEW)))


@pytest.fixture
def journal(tmp_path, counted):
    documents = tmp_path / "documents"
    documents.mkdir()
    for name in ENTRIES:
        shutil.copy(ROOT / "data" / "journal" / f"{name}.md", documents)
    return Run("own", str(documents))


def ran(counted):
    names = list(counted)
    counted.clear()
    return names


def records(folder):
    return {name: read_records(folder / f"{name}.jsonl", kind) for name, kind in KINDS.items()}


def test_an_index_is_taken_as_it_is_and_only_a_changed_one_is_read_again(index_run, outputs, tmp_path, counted):
    assert run_report(index_run, stages=STAGES[:2]) == 0
    index = import_graphrag(tmp_path / "index")
    assert records(outputs / "index") == {name: getattr(index, name) for name in KINDS}
    told = {community.title: community.summary for community in index.communities}
    assert told["London"] == "Cold.\n\n## Fog\n\nThick."
    problems = read_records(outputs / "index" / "problems" / "02_graph.jsonl", Problem)
    assert [problem.item for problem in problems] == ["TINY TIM"]
    assert ran(counted) == ["01_documents", "02_graph"]
    assert run_report(index_run, stages=STAGES[:2]) == 0
    assert ran(counted) == []
    write(tmp_path / "index", {"community_reports": [{**REPORTS[0], "title": "Fog", "full_content": "Dense."}]})
    assert run_report(index_run, stages=STAGES[:2]) == 0
    assert ran(counted) == ["01_documents", "02_graph"]
    found = {community.title: community.summary for community in records(outputs / "index")["communities"]}
    assert found["Fog"] == "Dense."


def test_what_follows_needs_nothing_but_the_graph_of_an_index(index_run, outputs):
    run = replace(index_run, notebooks={"03_synthesize": {"writer": "", "topic_mentions": 1}})
    assert run_report(run, stages=STAGES[:4]) == 0
    chunk_ids = {chunk.id for chunk in records(outputs / "index")["chunks"]}
    pairs = read_records(outputs / "index" / "kept.jsonl", QAPair)
    assert {"local", "global"} == {pair.scope for pair in pairs}
    assert {one for pair in pairs for one in pair.evidence_ids} == chunk_ids
    assert not [pair.question for pair in pairs if "  " in pair.question]  # of a community without a title
    assert read_records(outputs / "index" / "questions.jsonl", Question)


def test_a_teacher_is_not_asked_for_what_the_index_says(index_run, monkeypatch):
    monkeypatch.setattr("ragtune_lib.run_models.open_model", lambda *_, **__: pytest.fail("a model was opened"))
    assert run_report(replace(index_run, teacher="openai:gpt-4o-mini"), stages=STAGES[:2]) == 0


def test_a_plan_counts_no_call_for_the_graph_of_an_index(index_run):
    few = {
        "03_synthesize": {"generators": "entity_cot", "community_questions": 0},
        "04_curate": {"personas": 1, "draws": 1, "local_questions": 2, "twins": 1},
    }
    text, whole = told_plan(replace(index_run, teacher="openai:gpt-4o-mini", notebooks=few))
    assert whole, text
    assert "03_synthesize    openai:gpt-4o-mini: " in text
    assert "02_graph " not in text
    assert "The graph is that of the index." in text


def test_a_table_that_is_none_fails_by_name(index_run, tmp_path, capfd):
    (tmp_path / "index" / "text_units.parquet").write_text("<script>no table</script>")
    assert run_report(index_run, stages=STAGES[:2]) == 1
    assert "text_units.parquet is no parquet table" in capfd.readouterr().out


def test_a_run_s_own_tables_are_a_source_that_gives_the_same_graph(journal, outputs):
    assert run_report(journal, stages=STAGES[:2]) == 0
    again = Run("again", graphrag=str(outputs / "own" / "graphrag"))
    assert run_report(again, stages=STAGES[:2]) == 0
    assert records(outputs / "again") == records(outputs / "own")
    graph = networkx.read_graphml(outputs / "own" / "graph.graphml")
    found = records(outputs / "own")
    assert set(graph) == {entity.id for entity in found["entities"]}
    assert graph.number_of_edges() == len(found["relationships"])


def test_decisions_are_applied_before_the_graph_is_written_and_taken_back_by_an_undo(journal, outputs, counted):
    folder = outputs / "own"
    assert run_report(journal, stages=STAGES[:2]) == 0
    before = records(folder)
    assert read_json(folder / "metrics" / "02_graph.json")["aliases_merged"] == 0
    ran(counted)
    pair = sorted(before["entities"], key=lambda entity: -len(entity.evidence))[:2]
    review = AliasReview(folder, before["entities"])
    review.accept(*(entity.id for entity in pair))
    assert run_report(journal, stages=STAGES[:2]) == 0
    assert ran(counted) == ["02_graph"]
    after = records(folder)
    assert {one.id for one in before["entities"]} - {one.id for one in after["entities"]} == {pair[1].id}
    merged = next(entity for entity in after["entities"] if entity.id == pair[0].id)
    assert set(merged.evidence) == {*pair[0].evidence, *pair[1].evidence}
    gone = json.dumps(pair[1].id)
    assert not [
        file for file in ("entities", "relationships", "communities") if gone in (folder / f"{file}.jsonl").read_text()
    ]
    assert gone not in (folder / "graph.graphml").read_text()
    assert read_json(folder / "metrics" / "02_graph.json")["aliases_merged"] == 1
    assert run_report(journal, stages=STAGES[:2]) == 0
    assert ran(counted) == []
    review.undo()
    assert run_report(journal, stages=STAGES[:2]) == 0
    assert records(folder) == before


def test_corrections_are_replayed_before_communities_are_found_and_taken_back_by_an_undo(journal, outputs, counted):
    folder = outputs / "own"
    assert run_report(journal, stages=STAGES[:2]) == 0
    before = records(folder)
    ran(counted)
    first, second, *_ = sorted(before["entities"], key=lambda entity: -len(entity.evidence))
    edits = GraphEdits(folder)
    edits.rename(first, "Somebody Else")
    edits.delete(second)
    edits.delete(Entity("gone", "A name of an older text", "", "", (), ("c",)))
    assert run_report(journal, stages=STAGES[:2]) == 0
    assert ran(counted) == ["02_graph"]
    after = records(folder)
    assert next(one.name for one in after["entities"] if one.id == first.id) == "Somebody Else"
    for file in ("entities.jsonl", "relationships.jsonl", "communities.jsonl", "graph.gexf", "graph.graphml"):
        assert second.id not in (folder / file).read_text(), file
    assert "Somebody Else" in (folder / "graph.svg").read_text()
    assert any("Somebody Else" in one.title for one in after["communities"])
    (problem,) = read_records(folder / "problems" / "02_graph.jsonl", Problem)
    assert problem.item == "correction of A name of an older text"
    assert read_json(folder / "metrics" / "02_graph.json")["corrections"] == 3
    assert run_report(journal, stages=STAGES[:2]) == 0
    assert ran(counted) == []
    while edits.undo():
        pass
    assert run_report(journal, stages=STAGES[:2]) == 0
    assert records(folder) == before


def test_in_a_notebook_the_explorer_shows_the_graph_and_writes_the_same_files(journal, outputs):
    assert run_report(journal, stages=STAGES[:2]) == 0
    folder = outputs / "own"
    before = {name: (folder / name).read_bytes() for name in STAGES[1].writes}
    notebook = ROOT / "notebooks" / "02_graph.ipynb"
    assert cells.execute(notebook, folder / "02_graph.ipynb", {"run": "own", "interactive": True}) == ""
    assert {name: (folder / name).read_bytes() for name in STAGES[1].writes} == before


def test_merged_names_of_an_index_leave_its_reports_alone(index_run, outputs):
    folder = outputs / "index"
    assert run_report(index_run, stages=STAGES[:2]) == 0
    before = records(folder)
    AliasReview(folder, before["entities"]).accept("e1", "e2")
    assert run_report(index_run, stages=STAGES[:2]) == 0
    after = records(folder)
    assert [(one.title, one.summary) for one in after["communities"]] == [
        (one.title, one.summary) for one in before["communities"]
    ]
    assert [one.entity_ids for one in after["communities"]] == [("e1", "e3"), ("e1",)]


def test_a_suggestion_alone_changes_nothing(journal, outputs):
    for number, name in enumerate(("Ilse Brandt", "Ilse Brand")):
        text = f"In the morning {name} sold jam at the market by the river."
        (outputs.parent / "documents" / f"2025-02-0{number + 1}.md").write_text(text)
    assert run_report(journal, stages=STAGES[:2]) == 0
    figures = read_json(outputs / "own" / "metrics" / "02_graph.json")
    assert figures["aliases_undecided"] > 0
    assert figures["aliases_merged"] == 0
    names = {entity.name for entity in records(outputs / "own")["entities"]}
    assert {"Ilse Brandt", "Ilse Brand"} <= names
    assert not (outputs / "own" / "aliases.jsonl").exists()
