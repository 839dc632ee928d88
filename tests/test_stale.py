import shutil

import cells
import pytest

from ragtune_lib.graph.stale import stale_examples, stale_in, stale_pairs
from ragtune_lib.records import Chunk, Example, QAPair
from ragtune_lib.report import run_report
from ragtune_lib.runfile import Run
from ragtune_lib.stages import ADAPTER, STAGES
from ragtune_lib.store import ROOT, file_hash, read_json, read_records, write_records

CHUNKS = [Chunk(name, "d", 0, 1, "x", "") for name in ("c1", "c2")]


def pair(name, *evidence):
    return QAPair(name, "local", "entity", "q", "", "a", evidence, "template", "f")


PAIRS = [pair("both", "c1", "c2"), pair("gone", "c3"), pair("half", "c1", "c3"), pair("none")]
EXAMPLES = [Example(f"e-{name}", name, "q", "t", "train") for name in ("both", "half", "dropped", "none")]


def test_a_pair_is_stale_when_any_of_its_evidence_is_gone():
    assert [found.id for found in stale_pairs(PAIRS, CHUNKS)] == ["gone", "half"]
    assert stale_pairs(PAIRS, [*CHUNKS, Chunk("c3", "d", 0, 1, "x", "")]) == []


def test_an_example_is_stale_with_its_pair_or_without_one():
    assert [found.id for found in stale_examples(EXAMPLES, PAIRS, CHUNKS)] == ["e-half", "e-dropped"]


ENTRIES = ("2025-01-04", "2025-01-12", "2025-01-20")


@pytest.fixture
def trained(tmp_path, outputs, monkeypatch):
    """A run over three entries with a pair and an example about each chunk, and an adapter; its folder of documents."""
    cells.without_weights(monkeypatch)
    documents = tmp_path / "documents"
    documents.mkdir()
    for name in ENTRIES:
        source = next((ROOT / "data" / "journal").glob(f"{name[:7]}-*.md"))
        shutil.copy(source, documents / f"{name}.md")
        with (documents / f"{name}.md").open("a") as stream:
            stream.write(f"\nThis was written for {name}.\n")
    assert told(outputs, None) is None
    folder = outputs / "mine"
    pairs = [pair(f"p-{chunk.date}-{chunk.start}", chunk.id) for chunk in read_records(folder / "chunks.jsonl", Chunk)]
    for name in ("pairs", "kept"):
        write_records(folder / f"{name}.jsonl", [*pairs, pair("declines")])
    examples = [Example(f"e-{one.id}", one.id, "q", "t", "train") for one in pairs]
    write_records(folder / "examples.jsonl", examples)
    (folder / "adapter").mkdir()
    (folder / ADAPTER[0]).write_bytes(b"weights")
    return documents


def told(outputs, capfd):
    """Bring 01 up to date; what was said about stale things."""
    run = Run("mine", str(outputs.parent / "documents"))
    assert run_report(run, stages=STAGES[:1]) == 0
    lines = capfd.readouterr().out.splitlines() if capfd else []
    return next((line for line in lines if line.startswith("note: ")), None)


def stale_file(outputs):
    return {one.id for one in read_records(outputs / "mine" / "stale.jsonl", QAPair)}


def about(outputs, date):
    return {one.id for one in read_records(outputs / "mine" / "pairs.jsonl", QAPair) if one.id.startswith(f"p-{date}")}


@pytest.mark.parametrize("what", ["changed", "deleted"])
def test_a_changed_or_deleted_document_is_told_with_its_pairs_and_the_adapter(trained, outputs, capfd, what):
    file = trained / f"{ENTRIES[1]}.md"
    file.unlink() if what == "deleted" else file.write_text(file.read_text() + "\nIlse never came back.\n")
    said = told(outputs, capfd)
    lost, adapter = about(outputs, ENTRIES[1]), file_hash(outputs / "mine" / ADAPTER[0])
    every = len(read_records(outputs / "mine" / "pairs.jsonl", QAPair))
    assert lost
    assert f"{len(lost)} of {every} pairs rest on chunks that are gone" in said
    assert f"adapter {adapter} learnt such chunks ({len(lost)} of {every - 1} examples)" in said
    assert str(outputs / "mine" / "stale.jsonl") in said
    assert stale_file(outputs) == lost
    counts = {
        "pairs": len(lost),
        "of_pairs": every,
        "examples": len(lost),
        "of_examples": every - 1,
        "adapter": adapter,
    }
    assert read_json(outputs / "mine" / "metrics.json")["stale"] == counts


def test_the_adapter_is_named_until_another_one_lies_there(trained, outputs, capfd):
    (trained / f"{ENTRIES[0]}.md").unlink()
    told(outputs, capfd)
    for _ in range(2):
        said = told(outputs, capfd)
        assert "learnt such chunks" in said
        assert "pairs rest" not in said
    (outputs / "mine" / ADAPTER[0]).write_bytes(b"trained again")
    assert told(outputs, capfd) is None


def test_what_comes_back_or_is_added_makes_nothing_stale(trained, outputs, capfd):
    (trained / "2025-03-03.md").write_text("A new entry.")
    assert told(outputs, capfd) is None
    assert (stale_file(outputs), stale_in(outputs / "mine").adapter) == (set(), "")
    file = trained / f"{ENTRIES[2]}.md"
    text = file.read_text()
    file.unlink()
    assert told(outputs, capfd)
    file.write_text(text)
    assert told(outputs, capfd) is None
    assert read_json(outputs / "mine" / "metrics.json")["stale"]["pairs"] == 0


def test_files_of_another_version_stop_nothing(trained, outputs, capfd):
    (outputs / "mine" / "examples.jsonl").write_text('{"of": "another version"}\n')
    (trained / f"{ENTRIES[0]}.md").unlink()
    assert "is not known: examples.jsonl, record 1" in told(outputs, capfd)
