"""`ragtune plan`: every notebook but two runs with stand-ins, nothing is sent, and the real run is only read."""

import os
import shutil
from dataclasses import replace

import cells
import pytest

from ragtune_lib.llm.calls import Reply
from ragtune_lib.llm.reply_cache import ReplyCache, Usage
from ragtune_lib.plan import Due, _grown, plan_run, planned_parameters, told, told_plan, write_stand_in_answers
from ragtune_lib.records import Answer, ClaimList, JudgeCall, Question, Verdict
from ragtune_lib.report import main
from ragtune_lib.run_models import CALLS, open_run_model
from ragtune_lib.runfile import NOTEBOOKS, Run
from ragtune_lib.stages import STAGES
from ragtune_lib.store import ROOT, read_json, read_records, write_records

FEW = {
    "03_synthesize": {"generators": "entity_template entity_cot local_entity", "community_questions": 0, "absent": 3},
    "04_curate": {"personas": 1, "draws": 2, "local_questions": 4, "twins": 2},
    "07_judge": {"samples": 20, "rubric": "paper"},
}
TEACHER, JUDGE = "openai:gpt-4o-mini", "openai:gpt-4.1-mini"


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A run over two entries of the sample journal, in this process and without weights."""
    cells.without_weights(monkeypatch)
    monkeypatch.setenv("OPENAI_API_KEY", "")  # whoever asked would fail
    documents = tmp_path / "documents"
    documents.mkdir()
    for name in ("2025-01-04", "2025-01-12"):
        shutil.copy(ROOT / "data" / "journal" / f"{name}.md", documents)
    return Run("planned", str(documents), notebooks=FEW)


def test_a_plan_runs_the_notebooks_counts_their_calls_and_leaves_no_trace(run, outputs):
    place = os.environ["RAGTUNE_OUTPUTS"]
    due, failure = plan_run(replace(run, teacher=TEACHER, judge=JUDGE, budget=0.01))
    assert failure == ""
    asked = {(one.stage, one.model): one.usage.replies for one in due}
    assert set(asked) == {
        ("02_graph", TEACHER), ("03_synthesize", TEACHER), ("04_curate", TEACHER), ("04_curate", JUDGE), ("07_judge", JUDGE)
    }  # fmt: skip
    assert asked["02_graph", TEACHER] >= 4  # two chunks, each read twice
    assert asked["07_judge", JUDGE] % 8 == 0  # four other systems, both orders
    assert asked["07_judge", JUDGE] >= 8 * 4  # of seven drafts and their twins
    assert all(one.money()[0] > 0 for one in due)
    assert list(outputs.iterdir()) == []
    assert os.environ["RAGTUNE_OUTPUTS"] == place


def test_claims_are_planned_for_as_one_more_call_for_each_answer(run, outputs, tmp_path):
    questions = ROOT / "data" / "journal" / "questions.jsonl"
    few = tmp_path / "questions.jsonl"
    write_records(few, read_records(questions, Question)[:3])
    calls = []
    for claims in (False, True):
        judging = {**FEW["07_judge"], "claims": claims, "judge": JUDGE}
        (due,), failure = plan_run(replace(run, questions=str(few), notebooks={**FEW, "07_judge": judging}))
        assert failure == "" and (due.stage, due.model) == ("07_judge", JUDGE)
        calls.append(due.usage.replies)
    assert calls[1] - calls[0] == 3 * 5


def test_what_the_run_has_kept_is_not_planned_for_again(run, outputs):
    with_teacher = replace(run, teacher=TEACHER)
    first = {one.stage: one.usage.replies for one in plan_run(with_teacher)[0]}
    real = open_run_model(TEACHER, outputs / "planned")
    from ragtune_lib.documents import chunk_documents, read_documents
    from ragtune_lib.graph.entity_types import ENTITY_TYPES
    from ragtune_lib.graph.extract_llm import first_call

    documents, _ = read_documents(outputs.parent / "documents", [])
    chunk = chunk_documents(documents, cells.words_tokenizer(), size=500, overlap=100)[0]
    nothing = {"entities": [], "relationships": []}
    call = first_call(chunk, ENTITY_TYPES)
    real.cache.put(real.key(call), real.name, call, Reply("{}", nothing, "gpt", 5, 5, 0.1))
    kept = real.cache.usage(TEACHER)
    due = {one.stage: one.usage.replies for one in plan_run(with_teacher)[0]}
    assert due["02_graph"] <= first["02_graph"] - 2  # read, and known to hold nothing more: no gleaning either
    assert ReplyCache(outputs / "planned" / CALLS).usage(TEACHER) == kept


def test_a_run_without_teacher_and_judge_costs_nothing(run):
    text, whole = told_plan(run)
    assert whole
    assert "costs no money" in text


def test_a_notebook_that_fails_ends_the_plan(run, capfd):
    broken = replace(run, teacher=TEACHER, notebooks={"03_synthesize": {"generators": "local_entty"}})
    due, failure = plan_run(broken)
    assert [one.stage for one in due] == ["02_graph"]
    assert failure.startswith("03_synthesize: ValueError: generator 'local_entty' is unknown")
    assert main(["plan", "--documents", run.documents, "--run", "a", "--set", "03_synthesize.generators=such"]) == 0
    assert "costs no money" in capfd.readouterr().out
    settings = ["--set", f"03_synthesize.teacher={TEACHER}", "--set", "03_synthesize.generators=such"]
    assert main(["plan", "--documents", run.documents, "--run", "a", *settings]) == 1
    said = capfd.readouterr().out
    assert "FAILED, as the run would" in said
    assert "costs no money" not in said  # how far it came says nothing about that


def test_default_parameters_ask_no_model_and_make_no_cache(run, outputs, monkeypatch):
    def refuse(*_args, **_keywords):
        raise AssertionError("a model was opened")

    monkeypatch.setattr("ragtune_lib.run_models.open_model", refuse)
    folder = outputs / "planned"
    (folder / "notebooks").mkdir(parents=True)
    common = {"run": "planned", "interactive": False, "documents": run.documents, "writer": ""}
    for stage in STAGES:
        if stage.name == "06_answer":
            write_stand_in_answers(folder, 20)
        if stage.name not in ("05_finetune", "06_answer"):
            file = NOTEBOOKS / f"{stage.name}.ipynb"
            assert cells.execute(file, folder / "notebooks" / file.name, dict(common)) == ""
            assert not [name for name in stage.outputs if not (folder / name).is_file()]
    assert not list(folder.glob(f"{CALLS}*"))
    assert {one.judge for one in read_records(folder / "verdicts.jsonl", Verdict)} == {"reference"}
    assert read_records(folder / "judge_calls.jsonl", JudgeCall) == []
    assert read_records(folder / "claims.jsonl", ClaimList) == []
    assert not any(read_json(folder / "judge_statistics.json").values())


def test_stand_ins_take_the_models_place_and_nothing_else_is_changed():
    file = NOTEBOOKS / "03_synthesize.ipynb"
    values = {"run": "a", "teacher": TEACHER, "budget": 2.0, "writer": "embedded", "absent": 3}
    assert planned_parameters("03_synthesize", values, file) == {
        "run": "a", "teacher": f"plan:{TEACHER}", "writer": "", "absent": 3
    }  # fmt: skip
    assert planned_parameters("01_documents", {"student": "big/model"}, NOTEBOOKS / "01_documents.ipynb") == {}


def test_answers_in_a_plan_are_as_long_as_they_may_be(tmp_path):
    write_records(tmp_path / "questions.jsonl", [Question("q", "local", "Who?", "Ilse.", (("Ilse",),), ())])
    write_stand_in_answers(tmp_path, 50)
    answers = read_records(tmp_path / "answers.jsonl", Answer)
    assert len({answer.system for answer in answers}) == len(answers) == 5
    write_stand_in_answers(tmp_path, 50, ("graphrag_local_c0",))
    assert "graphrag_local_c0" in {answer.system for answer in read_records(tmp_path / "answers.jsonl", Answer)}
    assert all(190 <= len(answer.text) <= 200 for answer in answers)


def test_what_a_stage_added_is_a_difference():
    before = {"a": Usage(2, 20, 200, 10, 5), "b": Usage(1, 1, 1, 1, 1)}
    after = {"a": Usage(5, 50, 500, 30, 9), "b": Usage(1, 1, 1, 1, 1), "c": Usage(1, 4, 3, 2, 1)}
    assert _grown(before, after) == {"a": Usage(3, 30, 300, 20, 4), "c": Usage(1, 4, 3, 2, 1)}


def test_the_plan_in_words_adds_up_and_compares_with_the_budget():
    million = Usage(7, 4_000_000, 2_000_000, 1_000_000, 1_000_000)  # 0.15 + 0.60, at most 0.15 + 1.20
    due = [Due("02_graph", TEACHER, million), Due("07_judge", "http://h/v1:mine", million)]
    text = told(due, Run("a", "b", budget=1.0), {"max_new_tokens": 96})
    assert "7 calls, 1,000,000 tokens to read, 1,000,000 to write; about $0.750, at most $1.35" in text
    assert "price unknown" in text
    assert "models without a price not counted; the budget is $1.00, which may not be enough" in text
    assert "which may not" not in told(due[:1], Run("a", "b", budget=1.5), {"max_new_tokens": 96})
    assert "no budget is set" in told(due[:1], Run("a", "b"), {"max_new_tokens": 96})
