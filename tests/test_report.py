"""The runner on a two-stage toy pipeline of real notebooks: what is redone, what is not, and what a failure leaves."""

import errno
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import nbformat
import pytest

from ragtune_lib import report
from ragtune_lib.report import locked, main, run_report
from ragtune_lib.runfile import Run, check_models, read_run_file, stage_parameters
from ragtune_lib.stages import (
    STAGES,
    Stage,
    module_hashes,
    parameter_defaults,
    stage_key,
    tree_hash,
    without_prose,
    writer_of,
)

STAGES_TOY = (
    Stage("01_first", (), ("a.txt",), ("documents",)),
    Stage("02_second", ("a.txt",), ("b.txt",)),
)
COMMON = 'run: str = "journal"  # folder under outputs/\ninteractive: bool = True  # False under papermill\n'
START = """import json, time
from ragtune_lib.store import run_folder
folder = run_folder(run)
with (folder / "executed.log").open("a") as log:
    log.write("{name}\\n")
"""
END = """
(folder / "problems" / "{name}.jsonl").write_text("")
(folder / "metrics" / "{name}.json").write_text(json.dumps({{"in": 1, "out": 2, "problems": 0}}))
"""
FIRST = '(folder / "a.txt").write_text(text.strip())\nprint("seen on the terminal")'
SECOND = """if (folder / "wait").exists():
    time.sleep(120)
assert not (folder / "fail").exists(), "a planned failure"
(folder / "b.txt").write_text((folder / "a.txt").read_text() * times + str(rate))"""


def write_notebook(path, parameters, code):
    cells = [nbformat.v4.new_code_cell(COMMON + parameters), nbformat.v4.new_code_cell(code)]
    cells[0].metadata["tags"] = ["parameters"]
    kernel = {"name": "python3", "language": "python", "display_name": "Python 3"}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel}), path)


@pytest.fixture
def toy(tmp_path):
    """Folder of the two toy notebooks."""
    folder = tmp_path / "notebooks"
    folder.mkdir()
    for name, parameters, body in (
        ("01_first", 'documents: str = ""  # folder\ntext: str = "x"  # what to write', FIRST),
        ("02_second", "times: int = 2  # repeats\nrate: float = 0.5  # any", SECOND),
    ):
        write_notebook(folder / f"{name}.ipynb", parameters, START.format(name=name) + body + END.format(name=name))
    return folder


@pytest.fixture
def run(tmp_path):
    """A run of the toy pipeline over a folder with one document."""
    documents = tmp_path / "documents"
    documents.mkdir()
    (documents / "one.md").write_text("# One\n\nIlse came.\n")
    return Run(run="toy", documents=str(documents))


def with_values(run, **notebooks):
    return replace(run, notebooks={f"0{name[1]}_{name[3:]}": values for name, values in notebooks.items()})


def executed(outputs):
    """Stages that were executed since the last call."""
    log = outputs / "toy" / "executed.log"
    names = log.read_text().split() if log.exists() else []
    log.unlink(missing_ok=True)
    return names


def state(outputs):
    return json.loads((outputs / "toy" / "run.json").read_text())


def test_a_second_run_redoes_nothing_and_leaves_every_file_as_it_was(toy, run, outputs, capfd):
    assert run_report(run, toy, STAGES_TOY) == 0
    assert executed(outputs) == ["01_first", "02_second"]
    assert (outputs / "toy" / "b.txt").read_text() == "xx0.5"
    assert "seen on the terminal" in capfd.readouterr().out
    files = {path: path.stat().st_mtime_ns for path in (outputs / "toy").rglob("*") if path.name != ".lock"}
    assert run_report(run, toy, STAGES_TOY) == 0
    assert executed(outputs) == []
    printed = capfd.readouterr().out
    assert printed.count("unchanged") == 3, printed  # two stages and the report
    assert {path: path.stat().st_mtime_ns for path in files if path.name != "executed.log"} == {
        path: when for path, when in files.items() if path.name != "executed.log"
    }


def test_only_what_depends_on_a_change_is_redone(toy, run, outputs):
    assert run_report(run, toy, STAGES_TOY) == 0
    executed(outputs)
    assert run_report(with_values(run, _2_second={"times": 3}), toy, STAGES_TOY) == 0
    assert executed(outputs) == ["02_second"]
    assert (outputs / "toy" / "b.txt").read_text() == "xxx0.5"
    # A redone stage that gives the same bytes again changes nothing for the next one.
    changed = with_values(run, _1_first={"text": " x "}, _2_second={"times": 3})
    assert run_report(changed, toy, STAGES_TOY) == 0
    assert executed(outputs) == ["01_first"]
    changed = with_values(run, _1_first={"text": "y"}, _2_second={"times": 3})
    assert run_report(changed, toy, STAGES_TOY) == 0
    assert executed(outputs) == ["01_first", "02_second"]


def test_a_changed_document_redoes_the_stage_that_reads_it(toy, run, outputs, tmp_path):
    assert run_report(run, toy, STAGES_TOY) == 0
    executed(outputs)
    (tmp_path / "documents" / "one.md").write_text("# One\n\nIlse left.\n")
    assert run_report(run, toy, STAGES_TOY) == 0
    assert executed(outputs) == ["01_first"]


def test_a_lost_or_edited_artifact_is_made_again(toy, run, outputs):
    assert run_report(run, toy, STAGES_TOY) == 0
    executed(outputs)
    (outputs / "toy" / "b.txt").unlink()
    assert run_report(run, toy, STAGES_TOY) == 0
    assert executed(outputs) == ["02_second"]
    (outputs / "toy" / "a.txt").write_text("by hand")
    assert run_report(run, toy, STAGES_TOY) == 0
    assert executed(outputs) == ["01_first"]
    assert (outputs / "toy" / "b.txt").read_text() == "xx0.5"


def test_a_failed_stage_leaves_its_notebook_and_the_next_run_goes_on_there(toy, run, outputs, capfd):
    (outputs / "toy").mkdir()
    (outputs / "toy" / "fail").touch()
    assert run_report(run, toy, STAGES_TOY) == 1
    printed = capfd.readouterr().out
    assert "AssertionError: a planned failure" in printed
    assert "notebooks/02_second.ipynb" in printed
    assert (outputs / "toy" / "notebooks" / "02_second.ipynb").exists()
    records = state(outputs)["stages"]
    assert records["01_first"]["status"] == "done"
    assert records["02_second"]["status"] == "failed"
    assert "files" not in records["02_second"]
    assert not (outputs / "toy" / "report.html").exists()
    executed(outputs)
    (outputs / "toy" / "fail").unlink()
    assert run_report(run, toy, STAGES_TOY) == 0
    assert executed(outputs) == ["02_second"]


def test_a_stage_that_does_not_write_what_it_should_is_not_done(toy, run, outputs, capfd):
    stages = (replace(STAGES_TOY[0], writes=("a.txt", "never.txt")),)
    assert run_report(run, toy, stages) == 1
    assert "never.txt" in capfd.readouterr().out
    assert state(outputs)["stages"]["01_first"]["status"] == "failed"


def test_run_json_and_metrics_say_what_was_run(toy, run, outputs):
    assert run_report(replace(run, seed=3), toy, STAGES_TOY) == 0
    recorded = state(outputs)
    assert recorded["seed"] == 3
    assert recorded["parameters"]["02_second"] == {"run": "toy", "interactive": False}
    assert recorded["inputs"]["documents"] == tree_hash(outputs.parent / "documents")
    assert recorded["versions"]["ragtune"]
    metrics = json.loads((outputs / "toy" / "metrics.json").read_text())
    assert metrics["stages"]["01_first"] == {"in": 1, "out": 2, "problems": 0}
    assert set(metrics["seconds"]) == {"01_first", "02_second"}
    assert metrics["peak_memory_mb"] > 20  # of a bare kernel, or of a larger child of an earlier test
    assert (metrics["win_rates"], metrics["scores"], metrics["claims"]) == ([], [], [])


def test_the_claims_of_a_judge_model_are_in_the_metrics(toy, run, outputs):
    (outputs / "toy").mkdir()
    (outputs / "toy" / "judge_statistics.json").write_text('{"claims": [{"metric": "claims", "value": 2.0}]}')
    assert run_report(run, toy, STAGES_TOY) == 0
    assert json.loads((outputs / "toy" / "metrics.json").read_text())["claims"] == [{"metric": "claims", "value": 2.0}]


def test_a_run_killed_in_a_stage_continues_with_that_stage(toy, run, outputs, tmp_path):
    (outputs / "toy").mkdir()
    (outputs / "toy" / "wait").touch()
    script = tmp_path / "runner.py"
    script.write_text(
        "from pathlib import Path\nfrom ragtune_lib.report import run_report\nfrom ragtune_lib.runfile import Run\n"
        f"from ragtune_lib.stages import Stage\nstages = {STAGES_TOY!r}\nrun_report({run!r}, Path({str(toy)!r}), stages)\n"
    )
    runner = subprocess.Popen([sys.executable, str(script)], env=os.environ.copy())
    log = outputs / "toy" / "executed.log"
    try:
        for _ in range(300):
            if log.exists() and "02_second" in log.read_text():
                break
            assert runner.poll() is None, "the runner ended by itself"
            time.sleep(0.2)
    finally:
        runner.send_signal(signal.SIGKILL)
        runner.wait()
    assert state(outputs)["stages"]["02_second"]["status"] == "running"
    assert executed(outputs) == ["01_first", "02_second"]
    (outputs / "toy" / "wait").unlink()
    assert run_report(run, toy, STAGES_TOY) == 0
    assert executed(outputs) == ["02_second"]


def test_a_broken_run_json_only_costs_work(toy, run, outputs):
    assert run_report(run, toy, STAGES_TOY[:1]) == 0
    executed(outputs)
    (outputs / "toy" / "run.json").write_text('{"stages": {"01_fi')
    assert run_report(run, toy, STAGES_TOY[:1]) == 0
    assert executed(outputs) == ["01_first"]


def test_two_runs_on_one_folder_are_refused(toy, run, outputs):
    (outputs / "toy").mkdir()
    with locked(outputs / "toy"), pytest.raises(ValueError, match="another"):
        run_report(run, toy, STAGES_TOY)
    assert executed(outputs) == []
    with locked(outputs / "toy"):  # the lock ended with its holder
        pass


@pytest.mark.parametrize(
    ("notebooks", "message"),
    [
        ({"02_second": {"tmies": 3}}, "02_second: parameter 'tmies' is unknown; did you mean 'times'"),
        ({"02_secnod": {"times": 3}}, "notebook '02_secnod' is unknown; did you mean '02_second'"),
        ({"02_second": {"times": 2.5}}, "02_second.times: expected int, got 2.5"),
        ({"02_second": {"times": True}}, "02_second.times: expected int, got True"),
        ({"02_second": {"rate": "high"}}, "02_second.rate: expected float, got 'high'"),
        ({"01_first": {"text": [7]}}, "01_first.text: expected str, got [7]"),
        ({"01_first": None}, "notebook 01_first: expected dict"),
    ],
)
def test_a_wrong_name_or_value_starts_nothing(toy, run, outputs, notebooks, message):
    with pytest.raises(ValueError, match=message.replace("[", r"\[")):
        run_report(replace(run, notebooks=notebooks), toy, STAGES_TOY)
    assert executed(outputs) == []


def test_whole_numbers_and_exponents_serve_as_floats(toy, run):
    for given in (2, "2e0", 2.0):
        values = stage_parameters(replace(run, notebooks={"02_second": {"rate": given}}), toy, STAGES_TOY)
        assert values["02_second"]["rate"] == 2.0
        assert isinstance(values["02_second"]["rate"], float)


def test_each_notebook_gets_the_common_values_that_it_has_a_parameter_for(toy, run):
    values = stage_parameters(replace(run, seed=3, questions="q.jsonl"), toy, STAGES_TOY)
    assert values["01_first"] == {"run": "toy", "documents": run.documents, "interactive": False}
    assert values["02_second"] == {"run": "toy", "interactive": False}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("run: a\ndocuments: b\nquestion: c\n", "key 'question' is unknown; did you mean 'questions'"),
        ("run: a\n", "`documents` is missing"),
        ("documents: a\n", "`run` is missing"),
        ("run: a\ngraphrag: [b]\n", "graphrag: expected str"),
        ("run: 7\ndocuments: b\n", "run: expected str, got 7"),
        ("run: a\ndocuments: b\nseed: x\n", "seed: expected int"),
        ("- a\n", "key: value"),
        ("run: [a\n", "run.yaml"),
        ("run: a\ndocuments: b\nteachr: embedded\n", "key 'teachr' is unknown; did you mean 'teacher'"),
        ("run: a\ndocuments: b\njudge: [a]\n", "judge: expected str"),
        ("run: a\ndocuments: b\nbudget: much\n", "budget: expected float"),
        ("run: a\ndocuments: b\nworkers: 1.5\n", "workers: expected int"),
    ],
)
def test_a_broken_run_file_is_refused_by_name(tmp_path, text, message):
    path = tmp_path / "run.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        read_run_file(path)


def test_the_command_refuses_what_cannot_be_run(tmp_path, outputs, capfd):
    empty = tmp_path / "empty"
    empty.mkdir()
    full = tmp_path / "full"
    full.mkdir()
    (full / "a.md").write_text("Ilse came.")
    broken = tmp_path / "questions.jsonl"
    broken.write_text('{"id": "1", "scope": "local", "question": "Who?"}\n')
    for arguments, message in (
        (["--run", "toy"], "--documents"),
        (["--graphrag", str(full)], "--run"),
        (["--graphrag", str(full), "--documents", str(full), "--run", "toy"], "one of the two"),
        (["--graphrag", str(full), "--run", "toy"], "it lacks text_units.parquet, entities.parquet"),
        (["--documents", str(full), "--run", "toy", "--set", "epochs=2"], "NOTEBOOK.PARAMETER=VALUE"),
        ([str(tmp_path / "none.yaml")], "none.yaml"),
    ):
        assert main(["report", *arguments]) == 2
        assert message in capfd.readouterr().err
    for documents, questions, message in (
        (tmp_path / "none", "", "there is no folder"),
        (empty, "", "holds no file"),
        (full, str(tmp_path / "none.jsonl"), "there is no file"),
        (full, str(broken), "questions.jsonl, line 1: missing field 'answer'"),
    ):
        with pytest.raises((ValueError, FileNotFoundError), match=message):
            report.input_hashes(Run("toy", str(documents), str(questions)))
    assert not list(outputs.iterdir())


def test_options_of_the_command_line_stand_above_the_run_file(tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text("run: a\ndocuments: data/journal\nnotebooks:\n  05_finetune: {epochs: 3, rank: 8}\n")
    arguments = report._parser().parse_args(
        ["report", str(path), "--run", "b", "--set", "05_finetune.epochs=2", "--set", "06_answer.base_url=a=b"]
    )
    run = report.asked_run(arguments)
    assert (run.run, run.documents) == ("b", "data/journal")
    assert run.notebooks == {"05_finetune": {"epochs": 2, "rank": 8}, "06_answer": {"base_url": "a=b"}}


def test_an_index_takes_the_place_of_documents_and_the_other_way_round(tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text("run: a\ndocuments: data/journal\n")
    asked = {
        source: report.asked_run(report._parser().parse_args(["report", str(path), f"--{source}", str(tmp_path)]))
        for source in ("graphrag", "documents")
    }
    assert [(run.documents, run.graphrag) for run in asked.values()] == [("", str(tmp_path)), (str(tmp_path), "")]
    path.write_text("run: a\ngraphrag: my-index\n")
    values = stage_parameters(read_run_file(path))
    given = {stage: (own.get("documents"), own.get("graphrag")) for stage, own in values.items()}
    assert given["01_documents"] == ("", "my-index")
    assert given["02_graph"] == (None, "my-index")
    assert set(given.values()) == {("", "my-index"), (None, "my-index"), (None, None)}
    again = report.asked_run(report._parser().parse_args(["report", str(path), "--documents", str(tmp_path)]))
    assert (again.documents, again.graphrag) == (str(tmp_path), "")


def test_a_run_is_not_its_own_source(outputs):
    tables = outputs / "mine" / "graphrag"
    tables.mkdir(parents=True)
    for name in ("text_units", "entities", "relationships"):
        (tables / f"{name}.parquet").touch()
    assert set(report.input_hashes(Run("other", graphrag=str(tables)))) == {"graphrag", "questions"}
    with pytest.raises(ValueError, match="run 'mine' itself writes"):
        report.input_hashes(Run("mine", graphrag=str(tables)))


def test_a_full_disk_is_named_and_nothing_counts_as_done(monkeypatch, tmp_path, capfd, outputs):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(report, "stage_parameters", lambda *_: {stage.name: {} for stage in STAGES})
    monkeypatch.setattr(report, "stage_key", lambda *_: "key")
    monkeypatch.setattr(report, "write_json", full)
    (tmp_path / "a.md").write_text("Ilse came.")
    assert main(["report", "--documents", str(tmp_path), "--run", "toy"]) == 1
    assert "disk is full" in capfd.readouterr().err
    assert not (outputs / "toy" / "run.json").exists()


def test_the_key_changes_with_a_module_that_the_notebook_imports_through_another(toy, run, tmp_path):
    library = tmp_path / "ragtune_lib"
    library.mkdir()
    (library / "store.py").write_text("def run_folder(run):\n    from ragtune_lib.deep import x\n    return x\n")
    (library / "deep.py").write_text("from . import deeper\n")
    (library / "deeper.py").write_text("x = 1\n")
    (library / "plots.py").write_text("y = 1\n")
    (library / "seam").mkdir()
    (library / "seam" / "__init__.py").write_text("")
    (library / "seam" / "wire.py").write_text("from ragtune_lib.deep import x\n")

    def key():
        return stage_key(STAGES_TOY[0], toy / "01_first.ipynb", {}, tmp_path, {}, library)

    before = key()
    assert list(module_hashes("from ragtune_lib.store import run_folder", library)) == ["deep", "deeper", "store"]
    found = module_hashes("from ragtune_lib.seam import wire", library)
    assert list(found) == ["deep", "deeper", "seam", "seam.wire"]
    (library / "plots.py").write_text("y = 2\n")
    assert key() == before  # nothing imports it
    (library / "deeper.py").write_text('"""A better sentence."""\n\n# why\nx = (1)\n')
    assert key() == before
    (library / "deeper.py").write_text("x = 2\n")
    assert key() != before


def test_only_prose_is_left_out_of_a_module_s_key():
    told = 'def f(a, b=1):\n    """What for."""\n    # why\n    return a + b\n'
    assert without_prose(told) == without_prose("def f(a, b=1):\n    return a + b")
    for other in (told.replace("b=1", "b=2"), told.replace("+", "-"), told.replace("return", "x =")):
        assert without_prose(other) != without_prose(told)
    assert without_prose('x = "a"') != without_prose('x = "b"')  # no docstring


def test_the_key_changes_with_a_prompt_where_prompts_are_read(tmp_path):
    library = tmp_path / "ragtune_lib"
    (library / "prompts").mkdir(parents=True)
    (library / "prompt_files.py").write_text("")
    (library / "asks.py").write_text("from ragtune_lib.prompt_files import template\n")
    (library / "plots.py").write_text("y = 1\n")

    def hashes(prompt):
        (library / "prompts" / "judge.md").write_text(prompt)
        sources = ("from ragtune_lib.asks import x", "import ragtune_lib.plots")
        return [module_hashes(source, library) for source in sources]

    (asks, plots), (asks_later, plots_later) = hashes("Which is better?"), hashes("Which is worse?")
    assert asks["prompts"] != asks_later["prompts"]
    assert plots == plots_later


def test_prose_is_not_in_the_key(toy, tmp_path):
    path = toy / "01_first.ipynb"
    before = stage_key(STAGES_TOY[0], path, {}, tmp_path, {})
    notebook = nbformat.read(path, as_version=4)
    notebook.cells.append(nbformat.v4.new_markdown_cell("A better sentence."))
    nbformat.write(notebook, path)
    assert stage_key(STAGES_TOY[0], path, {}, tmp_path, {}) == before
    notebook.cells[1].source += "\nmore = 1"
    nbformat.write(notebook, path)
    assert stage_key(STAGES_TOY[0], path, {}, tmp_path, {}) != before


PERSONS = {"decisions*.jsonl", "human_verdicts.jsonl", "aliases.jsonl", "graph_edits.jsonl"}


def test_every_stage_reads_only_what_an_earlier_one_wrote_or_a_person():
    written = set()
    for stage in STAGES:
        assert set(stage.reads) <= written | PERSONS, stage.name
        written |= set(stage.outputs)
    assert writer_of("pairs.jsonl") == "03_synthesize"
    assert writer_of("decisions.jsonl") == ""


def test_the_hash_of_a_folder_sees_names_and_contents_but_no_hidden_file(tmp_path):
    folder = tmp_path / "folder"
    (folder / "sub").mkdir(parents=True)
    (folder / "sub" / "a.md").write_text("a")
    before = tree_hash(folder)
    (folder / ".DS_Store").write_text("x")
    (folder / "questions.jsonl").write_text("{}")
    assert tree_hash(folder, without=[folder / "questions.jsonl"]) == before
    (folder / "questions.jsonl").unlink()
    (folder / "sub" / "a.md").rename(folder / "sub" / "b.md")
    assert tree_hash(folder) != before


def test_teacher_judge_and_budget_reach_the_notebooks_that_ask_them(tmp_path):
    path = tmp_path / "run.yaml"
    models = "teacher: openai:gpt-4o-mini\njudge: embedded\nbudget: 5\nworkers: 2\n"
    path.write_text(f"run: a\ndocuments: data/journal\n{models}notebooks:\n  04_curate: {{judge: ''}}\n")
    values = stage_parameters(read_run_file(path))
    names = ("teacher", "judge", "budget", "workers")
    found = {stage: {name: own[name] for name in names if name in own} for stage, own in values.items()}
    del found["06_answer"]  # asks neither of the two
    paid = {"budget": 5.0, "workers": 2}
    assert found == {
        "01_documents": {},
        "02_graph": {"teacher": "openai:gpt-4o-mini", **paid},
        "03_synthesize": {"teacher": "openai:gpt-4o-mini", **paid},
        "04_curate": {"teacher": "openai:gpt-4o-mini", "judge": "", **paid},
        "05_finetune": {},
        "07_judge": {"judge": "embedded", **paid},
    }
    assert isinstance(values["02_graph"]["budget"], float)


def test_without_models_nothing_about_them_is_injected():
    values = stage_parameters(Run("a", "data/journal"))
    assert not [name for own in values.values() for name in own if name in ("teacher", "judge", "budget", "workers")]


@pytest.mark.parametrize(
    ("models", "message"),
    [
        ({"teacher": "opnai:gpt-4o"}, "02_graph.teacher: 'opnai:gpt-4o' is no model spec"),
        ({"judge": "plan:openai:gpt-4o"}, "04_curate.judge: 'plan:openai:gpt-4o' is no model spec"),
        ({"judge": "https://key@host/v1:m"}, "no place for keys"),
        ({"student": "openai:gpt-4o"}, "01_documents.student: 'openai:gpt-4o' is a server"),
        ({"budget": 0.0}, "02_graph.budget: 0.0 is no amount above 0"),
        ({"budget": float("nan")}, "02_graph.budget: nan is no amount"),
        ({"budget": 1.0, "judge": "http://127.0.0.1:1/v1:mine"}, "04_curate.judge: .* has no price, so no budget"),
        ({"notebooks": {"07_judge": {"judge": "a:b"}}}, "07_judge.judge: 'a:b' is no model spec"),
    ],
)
def test_a_model_that_nobody_can_ask_is_refused_before_anything_runs(models, message, outputs):
    with pytest.raises(ValueError, match=message):
        run_report(Run("a", "data/journal", **models))
    assert not list(outputs.iterdir())


def test_a_reader_of_baselines_is_checked_like_the_others():
    with pytest.raises(ValueError, match=r"06_answer\.reader: 'a:b' is no model spec"):
        check_models({"reader": "a:b"}, "06_answer")


def test_a_missing_key_is_said_at_the_start_and_stops_nothing(monkeypatch):
    values = {"02_graph": {"teacher": "openai:gpt-4o-mini"}, "07_judge": {"judge": "embedded"}}
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    (note,) = report.missing_keys(values)
    assert "OPENAI_API_KEY is not set" in note
    assert "embedded" not in note
    assert report.missing_keys({"07_judge": {"judge": "embedded"}, "05_finetune": {}}) == []
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    assert report.missing_keys(values) == []


def test_the_reply_cache_is_no_part_of_a_stage_s_result():
    assert not [stage.name for stage in STAGES if "calls.sqlite" in (*stage.reads, *stage.outputs)]
    judge = next(stage for stage in STAGES if stage.name == "07_judge")
    assert "human_verdicts.jsonl" in judge.reads  # a person's verdict makes the stage due
    assert "stand_ins" not in module_hashes("from ragtune_lib.run_models import open_run_model")


def test_defaults_are_read_as_they_are_written(toy):
    assert parameter_defaults(toy / "02_second.ipynb") == {
        "run": "journal", "interactive": True, "times": 2, "rate": 0.5
    }  # fmt: skip
