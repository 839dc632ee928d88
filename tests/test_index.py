"""The whole index with scripted replies: what is asked when something changes, and after a kill."""

import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace

import pytest
import scripted_index
from fault_proxy import FAULTS, FaultServer, some_faults

from ragtune_lib.graph.index import forecast_extraction, index_chunks
from ragtune_lib.llm import Model, Scripted, limits, open_model
from ragtune_lib.llm.calls import Call
from ragtune_lib.llm.cost import Meter
from ragtune_lib.llm.reply_cache import ReplyCache
from ragtune_lib.records import Chunk
from ragtune_lib.store import ROOT, content_id, write_records

LIMIT = 200  # characters of descriptions
STAGE = """
import sys
from pathlib import Path
from ragtune_lib.graph.index import index_chunks
from ragtune_lib.llm import open_model
from ragtune_lib.records import Chunk
from ragtune_lib.store import read_records
chunks = read_records(Path(sys.argv[3]), Chunk)
index_chunks(open_model(sys.argv[1], Path(sys.argv[2]), workers=4), chunks, description_limit=200)
"""


def world(number):
    """A document about three people of its own, and about Ilse, who is named in every document but with nobody."""
    a, b, c = (f"{name}{'abcdefghijklmnopqrstuvwxyz'[number]}" for name in ("Ad", "Be", "Cy"))
    text = (
        f"Today {a} met {b} and {c} in town. Later {b} saw {c} with {a}. Even {c} knows {a} and {b}. "
        f'Nobody but Ilse came in week {number}. They sang "the song of {number}".'
    )
    return Chunk(content_id(text), f"d{number}", 0, len(text), text, f"2025-01-{number + 1:02}")


@pytest.fixture
def model(tmp_path):
    return Model("scripted", ReplyCache(tmp_path / "calls.sqlite"), Scripted(scripted_index.of_call), Meter(None))


def due(model, chunks):
    """What a run asks, by kind, and its result."""
    model.backend.asked.clear()
    found = index_chunks(model, chunks, description_limit=LIMIT)
    return Counter(kind(call.messages, call.schema) for call in model.backend.asked), found


def kind(messages, schema):
    fields = schema["properties"]
    if "entities" in fields:
        return "extract" if len(messages) == 1 else "glean"
    return "report" if "findings" in fields else "summary"


def test_the_whole_index_of_eight_documents(model):
    chunks = [world(number) for number in range(8)]
    asked, (entities, relationships, communities, problems) = due(model, chunks)
    assert asked == {"extract": 8, "glean": 8, "summary": 1, "report": 8}
    by_name = {entity.name: entity for entity in entities}
    assert len(entities) == 8 * 3 + 8 + 1 and problems == []
    assert by_name["Ilse"].description.startswith("8 notes: Ilse: Nobody but Ilse")
    assert by_name["the song of 3"].kind == "abstract object"
    assert len(by_name["Ilse"].evidence) == len(by_name["Ilse"].chunk_ids) == 8
    assert len(relationships) == 8 * 3 and {link.weight for link in relationships} == {10.0}
    assert len(communities) == 8
    for community in communities:
        assert community.summary.startswith("A report of 6 notes.") and len(community.evidence) == 3


def test_the_forecast_knows_the_extraction_before_a_call_is_made(model):
    chunks = [world(number) for number in range(8)]
    assert forecast_extraction(model, chunks).due == 16 and model.backend.asked == []
    due(model, chunks)
    assert forecast_extraction(model, chunks).due == 0
    assert forecast_extraction(model, [*chunks, world(9)]).due == 2


def test_a_second_run_on_an_unchanged_corpus_asks_nothing(model):
    chunks = [world(number) for number in range(8)]
    _, first = due(model, chunks)
    asked, second = due(model, chunks)
    assert (asked, second) == ({}, first)


def changed(chunk, old, new):
    text = chunk.text.replace(old, new)
    assert text != chunk.text
    return replace(chunk, id=content_id(text), end=len(text), text=text)


def test_a_changed_document_asks_exactly_what_depends_on_it(model):
    chunks = [world(number) for number in range(8)]
    due(model, chunks)
    chunks[3] = changed(chunks[3], "met", "married")
    asked, (entities, *_) = due(model, chunks)
    # one report, since the others' groups are the same, and no summary: what is said of Ilse is the same
    assert asked == {"extract": 1, "glean": 1, "report": 1}
    assert "married" in next(entity.description for entity in entities if entity.name == "Add")
    chunks[4] = changed(chunks[4], "came in week", "stayed for week")
    asked, (entities, *_) = due(model, chunks)
    assert asked == {"extract": 1, "glean": 1, "summary": 1}
    chunks[5] = changed(chunks[5], "They sang", "They cried")  # names nobody: nothing is said otherwise
    asked, _ = due(model, chunks)
    assert asked == {"extract": 1, "glean": 1}


def test_a_document_more_and_a_document_less(model):
    chunks = [world(number) for number in range(8)]
    _, before = due(model, chunks)
    asked, _ = due(model, [world(9), *chunks])
    assert asked == {"extract": 1, "glean": 1, "summary": 1, "report": 1}
    asked, after = due(model, chunks)  # deleted again: as if it had never been
    assert (asked, after) == ({}, before)
    asked, (entities, _, communities, _) = due(model, chunks[1:])
    assert asked == {"summary": 1}
    assert (len(communities), len(entities)) == (7, 7 * 3 + 7 + 1)


def test_documents_in_another_order_are_not_asked_again(model):
    chunks = [world(number) for number in range(8)]
    _, first = due(model, chunks)
    asked, second = due(model, chunks[::-1])
    assert asked == {}
    assert [entity.description for entity in second[0]] == [entity.description for entity in first[0]]


def test_another_type_list_asks_again(model):
    due(model, [world(0)])
    model.backend.asked.clear()
    index_chunks(model, [world(0)], types=["person", "abstract object"], description_limit=LIMIT)
    assert len(model.backend.asked) == 2  # the reports have the same notes


def test_an_empty_corpus_has_an_empty_index(model):
    assert index_chunks(model, []) == ([], [], [], [])


# against a server


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(limits, "FIRST", 0.02)
    monkeypatch.delenv("RAGTUNE_API_KEY", raising=False)


def key_of(model, body):
    """Under which the reply to a request is kept."""
    messages = tuple((message["role"], message["content"]) for message in body["messages"])
    schema = body["response_format"]["json_schema"]["schema"]
    return model.key(Call("", messages, body["max_tokens"], body["temperature"], schema))


def test_killed_at_any_point_it_repeats_no_finished_call_and_ends_with_the_same_graph(tmp_path, model):
    chunks = [world(number) for number in range(24)]
    _, expected = due(model, chunks)
    total = len(model.backend.asked)
    write_records(tmp_path / "chunks.jsonl", chunks)
    cache = tmp_path / "killed.sqlite"
    with FaultServer(scripted_index.of_body, latency=0.03) as server:
        command = [sys.executable, "-c", STAGE, f"{server.url}:m", str(cache), str(tmp_path / "chunks.jsonl")]
        kept, sent = set(), 0
        for share in (0.15, 0.5, 0.75, 2.0):  # in the extraction, the gleanings, the reports; the last one ends
            process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)
            while process.poll() is None and server.finished.total() < share * total:
                time.sleep(0.005)
            process.send_signal(signal.SIGKILL)
            process.wait()
            time.sleep(0.1)  # what is on its way to nobody arrives
            asker = open_model(f"{server.url}:m", cache)
            asked = [key_of(asker, body) for body in server.bodies[sent:]]
            sent = len(server.bodies)
            assert not kept & set(asked)  # nothing that was finished is asked again
            before, kept = kept, {key for key in {*asked, *kept} if asker.cache.get(key)}
            assert before < kept
        assert process.returncode == 0 and len(kept) == total
        assert total <= sent <= total + 3 * 4  # only what was on its way at a kill was asked twice
        assert index_chunks(asker, chunks, description_limit=LIMIT) == expected
        assert len(server.bodies) == sent


def test_through_every_fault_every_chunk_is_read_or_a_problem(tmp_path):
    chunks = [world(number) for number in range(24)]
    kinds = [fault for fault in FAULTS if fault not in ("429 date", "slow")]
    with FaultServer(scripted_index.of_body, some_faults(0.3, kinds)) as server:
        asker = open_model(f"{server.url}:m", tmp_path / "calls.sqlite")
        asker.backend.pause = 0.01
        entities, _, _, problems = index_chunks(asker, chunks, gleanings=0, description_limit=LIMIT)
    read = {chunk_id for entity in entities for chunk_id in entity.chunk_ids}
    lost = {problem.item for problem in problems if problem.stage == "extract"}
    assert lost and read | lost >= {chunk.id for chunk in chunks}
