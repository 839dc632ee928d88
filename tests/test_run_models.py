"""The models of a run: one budget over all of them, stand-ins only where nothing is real."""

import pytest
from teacher import YES_SCHEMA

from ragtune_lib.llm import Call, StageError, prompt
from ragtune_lib.llm.calls import Reply
from ragtune_lib.llm.reply_cache import ReplyCache
from ragtune_lib.records import Problem
from ragtune_lib.run_models import CALLS, PLAN_MARK, check_paid, open_run_model, spent


def keep(folder, model, number, prompt_tokens, output_tokens):
    cache = ReplyCache(folder / CALLS)
    call = Call(f"q{number}", prompt(f"question {number}"))
    cache.put(f"{model} {number}", model, call, Reply("yes", None, model, prompt_tokens, output_tokens, 0.1))
    cache.close()


def test_the_budget_of_a_run_is_what_its_kept_replies_have_left_of_it(tmp_path):
    keep(tmp_path, "openai:gpt-4o-mini", 1, 1_000_000, 0)  # 0.15
    keep(tmp_path, "openai:gpt-4o-mini", 2, 0, 500_000)  # 0.30
    keep(tmp_path, "openai:gpt-4.1-mini", 3, 1_000_000, 0)  # 0.40
    keep(tmp_path, "embedded", 4, 1_000_000, 1_000_000)  # nothing
    keep(tmp_path, "http://127.0.0.1:1/v1:unknown", 5, 1_000_000, 1_000_000)  # not known
    assert spent(tmp_path / CALLS) == pytest.approx(0.85)
    assert open_run_model("openai:gpt-4o-mini", tmp_path, 2.0).meter.budget == pytest.approx(1.15)
    assert open_run_model("openai:gpt-4o-mini", tmp_path, 0.5).meter.budget == 0.0
    assert open_run_model("openai:gpt-4o-mini", tmp_path).meter.budget is None


def test_nothing_is_spent_and_no_file_made_before_a_model_is_opened(tmp_path):
    assert spent(tmp_path / CALLS) == 0.0
    assert not (tmp_path / CALLS).exists()


def test_stand_ins_are_given_only_where_a_plan_has_left_its_mark(tmp_path):
    with pytest.raises(ValueError, match="ragtune plan"):
        open_run_model("plan:openai:gpt-4o-mini", tmp_path)
    (tmp_path / PLAN_MARK).touch()
    model = open_run_model("plan:openai:gpt-4o-mini", tmp_path)
    assert model.name == "openai:gpt-4o-mini"
    asked = model.ask("try", [Call("a", prompt("Who?"), schema=YES_SCHEMA)])
    assert asked.results[0].reply.data == {"ok": True}


def test_a_plan_s_stand_ins_take_the_place_of_what_is_not_kept_alone(tmp_path):
    (tmp_path / PLAN_MARK).touch()
    call = Call("a", prompt("Who?"), schema=YES_SCHEMA)
    real = open_run_model("openai:gpt-4o-mini", tmp_path)
    real.cache.put(real.key(call), real.name, call, Reply('{"ok": false}', {"ok": False}, "gpt", 9, 9, 0.1))
    planned = open_run_model("plan:openai:gpt-4o-mini", tmp_path)
    before = planned.cache.usage(planned.name).replies
    assert planned.ask("try", [call]).results[0].reply.data == {"ok": False}
    assert planned.cache.usage(planned.name).replies == before


@pytest.mark.parametrize("reason", ["not asked: 16 calls in a row failed", "no connection: refused", "HTTP 503: busy"])
def test_a_stage_that_the_server_left_alone_fails_so_that_nothing_trains_on_a_part(reason):
    with pytest.raises(StageError, match="run it again"):
        check_paid([Problem("s", "a", "refused"), Problem("s", "b", reason)])


def test_a_stage_that_the_budget_cut_short_fails_and_others_do_not():
    check_paid([Problem("s", "a", "refused"), Problem("s", "b", "cut off: at 10 tokens")])
    with pytest.raises(StageError, match="2 calls"):
        check_paid([Problem("s", "a", "budget reached"), Problem("s", "b", "budget reached: $2")])
