"""The notebooks: their form, and the whole pipeline with real models on a small slice of the sample journal."""

import ast
import json
import re
import shutil
from collections import Counter
from itertools import combinations
from pathlib import PurePath

import cells
import nbformat
import pytest
import tiny

from ragtune_lib.documents import chunk_documents
from ragtune_lib.models import load_tokenizer
from ragtune_lib.records import Answer, Chunk, Document, Example, Problem, QAPair, Question, TrainLog, Verdict, WinRate
from ragtune_lib.report import main, run_report
from ragtune_lib.runfile import Run
from ragtune_lib.stages import STAGES, parameter_types
from ragtune_lib.store import ROOT, content_id, file_hash, read_json, read_records, write_records
from ragtune_lib.teacher.selection import LeftOut

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))  # none at all fails: empty_parameter_set_mark
SYSTEMS = {"base", "vanilla_rag", "long_context", "rag_tuned", "rag_tuned_rag"}
SCOPES = {"local", "global", "unanswerable"}
ENTRIES = ("2025-01-04", "2025-01-12", "2025-01-20", "2025-01-29", "2025-02-09", "2025-02-14")  # one global question's
# Parameters of the small runs: real models and real training steps, few items.
SMALL = {
    "03_synthesize": {"drafts": 1, "written": 3, "global_phrasings": 2, "topic_mentions": 3, "absent": 6},
    "04_curate": {"held_out": 8},
    "05_finetune": {"epochs": 0.5, "validation_facts": 8, "learning_rate": 0.003},
    "06_answer": {"validation": 4, "chunk_sizes": "120", "top_ks": "1 2", "max_new_tokens": 24, "recitations": 3},
    "07_judge": {"samples": 200},
}

each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def code_cells(path):
    return [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]


def test_there_is_one_notebook_for_each_stage():
    assert [path.stem for path in NOTEBOOKS][: len(STAGES)] == [stage.name for stage in STAGES]


@each_notebook
def test_papermill_reads_every_parameter(path):
    import papermill

    tagged = [cell for cell in code_cells(path) if "parameters" in cell.metadata.get("tags", [])]
    assert len(tagged) == 1
    assert tagged[0].id == code_cells(path)[0].id, "not the first code cell"
    lines = ast.parse(tagged[0].source).body
    assert all(isinstance(line, ast.AnnAssign) for line in lines), "an annotated value on each line"
    for line in lines:
        ast.literal_eval(line.value)  # derived values would not follow the injected ones
    seen = papermill.inspect_notebook(path)
    assert {name: found["inferred_type_name"] for name, found in seen.items()} == parameter_types(path)
    assert list(seen) == [line.target.id for line in lines]
    assert all(found["help"] for found in seen.values()), "a help comment on each line"
    assert {"run", "interactive"} <= set(seen)


@each_notebook
def test_a_notebook_is_committed_clean(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert notebook.metadata.kernelspec.name == "python3"
    ids = [cell.id for cell in notebook.cells]
    assert len(set(ids)) == len(ids)
    for cell in code_cells(path):
        assert cell.outputs == []
        assert cell.execution_count is None


@each_notebook
def test_cells_are_short_and_hold_no_machinery(path):
    for cell in code_cells(path):
        assert len(cell.source.splitlines()) <= 25, cell.source
        nodes = list(ast.walk(ast.parse(cell.source)))  # also refuses !pip and %magic
        forbidden = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Try)
        assert not [node for node in nodes if isinstance(node, forbidden)], cell.source
        pieces = {id(piece) for node in nodes if isinstance(node, ast.JoinedStr) for piece in node.values}
        constants = [node.value for node in nodes if isinstance(node, ast.Constant) and id(node) not in pieces]
        texts = [value for value in constants if isinstance(value, str)]
        assert not [text for text in texts if re.match(r"(/|~|[A-Za-z]:\\)\w", text)], "an absolute path"


@each_notebook
def test_a_notebook_tells_what_it_asks_and_what_it_does_not_show(path):
    cells = nbformat.read(path, as_version=4).cells
    assert re.match(rf"# {path.stem[:2]} .*\?", cells[0].source), "a title with the number and a question"
    assert "**Reads**" in cells[0].source
    assert "**Writes**" in cells[0].source
    assert cells[-1].source.startswith("## What this does not show")


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.name)
def test_the_stage_table_names_every_artifact_that_the_notebook_names(stage):
    """A read that the table does not know would leave a stale result standing."""
    source = "\n".join(cell.source for cell in code_cells(ROOT / "notebooks" / f"{stage.name}.ipynb"))
    artifacts = {file for other in STAGES for file in (*other.reads, *other.writes) if "/" not in file}
    named = {file for file in artifacts if f'"{file}"' in source or f"/{file}" in source}
    assert named <= {*stage.reads, *stage.writes}
    types = parameter_types(ROOT / "notebooks" / f"{stage.name}.ipynb")
    assert set(stage.inputs) <= set(types)
    if "documents" in types:
        assert "documents" in stage.inputs


@pytest.fixture(scope="module")
def slice_of_journal(tmp_path_factory):
    """Six entries of the sample journal, and the held-out questions that these entries answer."""
    folder = tmp_path_factory.mktemp("slice")
    (folder / "documents").mkdir()
    for name in ENTRIES:
        shutil.copy(ROOT / "data" / "journal" / f"{name}.md", folder / "documents")
    every = read_records(ROOT / "data" / "journal" / "questions.jsonl", Question)
    fitting = [question for question in every if set(question.evidence) <= set(ENTRIES)]
    chosen = [item for scope in sorted(SCOPES) for item in [q for q in fitting if q.scope == scope][:6]]
    assert {question.scope for question in chosen} == SCOPES
    write_records(folder / "questions.jsonl", chosen)
    return folder


def check_artifacts(folder, questions):
    """Nothing disappeared between questions, answers, verdicts and rates; the training learnt something."""
    answers = read_records(folder / "answers.jsonl", Answer)
    expected = Counter((question.id, system) for question in questions for system in SYSTEMS)
    assert Counter((answer.question_id, answer.system) for answer in answers) == expected
    verdicts = read_records(folder / "verdicts.jsonl", Verdict)
    pairs = {frozenset((verdict.system_a, verdict.system_b)) for verdict in verdicts}
    assert pairs == {frozenset(pair) for pair in combinations(SYSTEMS, 2)}
    overall = Counter(verdict.question_id for verdict in verdicts if verdict.criterion == "overall")
    assert overall == Counter({question.id: len(pairs) for question in questions})
    rates = read_records(folder / "win_rates.jsonl", WinRate)
    assert {("rag_tuned", "vanilla_rag"), ("rag_tuned", "long_context")} <= {(r.system, r.baseline) for r in rates}
    for rate in rates:
        assert rate.n == 0 or 0 <= rate.low <= rate.rate <= rate.high <= 1
        if (rate.scope, rate.criterion) == ("all", "overall"):
            assert rate.n + rate.invalid == len(questions), rate
    log = read_records(folder / "train_log.jsonl", TrainLog)
    assert len(log) >= 2
    half, losses = len(log) // 2, [row.loss for row in log]  # single steps differ by what is in them
    assert sum(losses[-half:]) < sum(losses[:half])
    assert log[-1].padding <= 0.15  # few examples leave few of like length; a real run has 0.04
    assert (folder / "adapter" / "adapter_model.safetensors").stat().st_size > 0
    kept = {pair.id for pair in read_records(folder / "kept.jsonl", QAPair)}
    examples = read_records(folder / "examples.jsonl", Example)
    assert examples
    assert {example.pair_id for example in examples} <= kept
    asked = {question.question for question in questions}
    assert not asked & {example.question for example in examples if example.split == "train"}


def check_metrics(folder):
    metrics = json.loads((folder / "metrics.json").read_text())
    rate_keys = {"system", "baseline", "scope", "criterion", "judge", "rate", "low", "high", "n", "ties", "invalid"}
    assert metrics["win_rates"]
    assert all(rate_keys <= set(row) for row in metrics["win_rates"])
    assert {row["system"] for row in metrics["scores"]} == SYSTEMS
    assert all({"system", "scope", "metric", "value", "n"} <= set(row) for row in metrics["scores"])
    assert set(metrics["seconds"]) == {stage.name for stage in STAGES}
    for name, counts in metrics["stages"].items():
        assert counts["in"] >= 1, name
        assert counts["problems"] >= 0, name
    page = (folder / "report.html").read_text()
    assert 'class="missing"' not in page
    assert page.count("plotly-graph-div") >= 5


one_thread = pytest.fixture(tiny.one_thread)


@pytest.fixture
def tuned_with(tmp_path, outputs, monkeypatch, one_thread):
    """Notebooks 05 and 06 in this process, with a random student and two documents; `run(sliding, **05's)`."""
    from ragtune_lib import models

    monkeypatch.setattr(models, "load_embedder", cells.hashed_embedder)
    folder = outputs / "random"
    (folder / "notebooks").mkdir(parents=True)

    def run(sliding=0, **parameters):
        spec = tiny.save_model(tmp_path / "student", window=1024, sliding=sliding)
        texts = ("Ilse sold plum jam at the harbour.", "Tomas painted the boat green.")
        documents = [Document(f"d{at}", f"d{at}.md", f"Day {at}", text, "") for at, text in enumerate(texts)]
        chunks = chunk_documents(documents, load_tokenizer(spec), 100, 0)
        kept = [
            QAPair(f"p{at}", "local", "entity", f"What of {at}?", text, text, (chunks[at % 2].id,), "t", f"f{at}")
            for at, text in enumerate(texts * 5)
        ]
        write_records(folder / "documents.jsonl", documents)
        write_records(folder / "chunks.jsonl", chunks)
        write_records(folder / "kept.jsonl", kept)
        write_records(folder / "questions.jsonl", [Question("q", "local", "Who?", "Ilse.", (("Ilse",),), ("d0",))])
        common = {"run": "random", "interactive": False}
        tuning = {**common, "student": spec, "backend": "peft", "rank": 2, "epochs": 1, "learning_rate": 1e-3}
        answering = {**common, "max_new_tokens": 6, "recitations": 2, "chunk_sizes": "100", "top_ks": "1"}
        for name, values in (("05_finetune", tuning | parameters), ("06_answer", answering)):
            file = ROOT / "notebooks" / f"{name}.ipynb"
            assert cells.execute(file, folder / "notebooks" / file.name, values) == ""
            stage = next(stage for stage in STAGES if stage.name == name)
            assert not [file for file in stage.outputs if not (folder / file).is_file()]
        return folder

    return run


def test_a_student_with_a_sliding_window_goes_without_long_context(tuned_with):
    folder = tuned_with(sliding=64)
    assert {answer.system for answer in read_records(folder / "answers.jsonl", Answer)} == SYSTEMS - {"long_context"}
    (problem,) = read_records(folder / "problems" / "06_answer.jsonl", Problem)
    assert problem.item == "q long_context" and "sliding window" in problem.reason
    counts = read_json(folder / "metrics" / "06_answer.json")
    assert (counts["in"], counts["out"], counts["problems"]) == (5, 4, 1)
    assert "sliding window" in read_json(folder / "retrieval.json")["long_context"]["left_out"]


def test_the_pairs_that_the_student_knows_least_are_trained_and_no_other_is_lost(tuned_with):
    folder = tuned_with(selected=0.4)
    left_out = read_records(folder / "left_out.jsonl", LeftOut)
    examples = read_records(folder / "examples.jsonl", Example)
    kept = read_records(folder / "kept.jsonl", QAPair)
    assert sorted([one.pair_id for one in left_out] + [one.pair_id for one in examples]) == sorted(p.id for p in kept)
    assert len(examples) == 4 and all(one.loss > 0 for one in left_out)
    counts = read_json(folder / "metrics" / "05_finetune.json")
    assert counts["in"] == 10 == counts["out"] + counts["left_out"] + counts["problems"]
    assert {answer.system for answer in read_records(folder / "answers.jsonl", Answer)} == SYSTEMS


def test_documents_that_are_held_out_reach_no_chunk_and_their_questions_want_a_refusal(
    slice_of_journal, outputs, monkeypatch
):
    from ragtune_lib import models

    monkeypatch.setattr(models, "load_embedder", cells.hashed_embedder)
    folder, asked = outputs / "split", slice_of_journal / "questions.jsonl"
    common = {"run": "split", "interactive": False}

    def run(name, **parameters):
        file = ROOT / "notebooks" / f"{name}.ipynb"
        assert cells.execute(file, folder / "notebooks" / file.name, common | parameters) == ""

    (folder / "notebooks").mkdir(parents=True)
    run("01_documents", documents=str(slice_of_journal / "documents"), hold_out=0.5)
    corpus, unseen = (read_records(folder / name, Document) for name in ("documents.jsonl", "unseen.jsonl"))
    assert corpus and unseen and len(corpus) + len(unseen) == len(ENTRIES)
    chunks = read_records(folder / "chunks.jsonl", Chunk)
    assert {chunk.document_id for chunk in chunks} == {document.id for document in corpus}
    text = chunks[0].text[:60]
    write_records(folder / "pairs.jsonl", [QAPair("p", "local", "entity", "Q?", text, text, (chunks[0].id,), "t", "f")])
    run("04_curate", questions=str(asked), reviewer="bob", second_opinion="ada")  # who has decided nothing
    before, after = (read_records(file, Question) for file in (asked, folder / "questions.jsonl"))
    lost = read_records(folder / "problems" / "04_curate.jsonl", Problem)
    assert len(before) == len(after) + len(lost)
    names = {PurePath(document.name).stem for document in unseen}
    moved = [question for question in after if set(question.evidence) and set(question.evidence) <= names]
    assert moved and {(question.scope, question.facts) for question in moved} == {("unanswerable", ())}
    said = {"rag_tuned": "The documents do not say.", "base": "On Tuesday."}
    answers = [Answer(q.id, system, text, (), 1, 1, 0.1) for q in after for system, text in said.items()]
    write_records(folder / "answers.jsonl", answers)
    run("07_judge")
    rows = [row for row in read_json(folder / "scores.json") if row["scope"] == "unseen"]
    assert [(row["system"], row["value"], row["n"]) for row in rows] == [
        ("rag_tuned", 1.0, len(moved)), ("base", 0.0, len(moved))
    ]  # fmt: skip


@pytest.mark.notebook
def test_the_whole_pipeline_runs_on_a_slice_and_a_second_run_redoes_nothing(slice_of_journal, outputs, capfd):
    questions = slice_of_journal / "questions.jsonl"
    run = Run("small", str(slice_of_journal / "documents"), str(questions), seed=17, notebooks=SMALL)
    assert run_report(run) == 0
    folder = outputs / "small"
    held_out = read_records(questions, Question)
    assert {item.id for item in read_records(folder / "questions.jsonl", Question)} == {item.id for item in held_out}
    check_artifacts(folder, held_out)
    check_metrics(folder)
    files = {path: file_hash(path) for path in folder.rglob("*") if path.is_file()}
    capfd.readouterr()
    assert run_report(run) == 0
    assert capfd.readouterr().out.count("unchanged") == len(STAGES) + 1
    assert {path: file_hash(path) for path in folder.rglob("*") if path.is_file()} == files


@pytest.mark.notebook
def test_a_user_s_own_documents_need_no_questions_file(tmp_path, outputs):
    documents = tmp_path / "my notes"
    documents.mkdir()
    for name in ENTRIES[:3]:
        shutil.copy(ROOT / "data" / "journal" / f"{name}.md", documents)
    (documents / "hostile.txt").write_text("Wren wrote <script>alert(1)</script> on the shed on 3 May 2025.\n")
    (documents / "copy.md").write_bytes((documents / f"{ENTRIES[0]}.md").read_bytes())
    (documents / "latin.txt").write_bytes("Café Zoë in Genève".encode("latin-1"))
    (documents / "empty.md").touch()
    settings = [f"{name}.{key}={value}" for name, values in SMALL.items() for key, value in values.items()]
    arguments = [part for setting in settings for part in ("--set", setting)]
    assert main(["report", "--documents", str(documents), "--run", "own", *arguments]) == 0
    folder = outputs / "own"
    questions = read_records(folder / "questions.jsonl", Question)
    assert questions
    assert len({content_id(question.question) for question in questions}) == len(questions)
    check_artifacts(folder, questions)
    check_metrics(folder)
    problems = (folder / "problems" / "01_documents.jsonl").read_text()
    assert all(name in problems for name in ("copy.md", "latin.txt", "empty.md")), problems
    page = (folder / "report.html").read_text()
    assert "generated from the same documents" in page
    assert "<script>alert(1)" not in page
