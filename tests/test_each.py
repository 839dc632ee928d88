import pytest
from teacher import teacher

from ragtune_lib.llm import Call, StageError, prompt
from ragtune_lib.llm.calls import Unusable
from ragtune_lib.llm.each import Rehearsal, ask_each, stand_in
from ragtune_lib.llm.replies import misfit

SCHEMA = {"type": "object", "properties": {"n": {"type": "string"}}, "required": ["n"], "additionalProperties": False}


def call_of(thing):
    return Call(f"i{thing}", prompt(f"about {thing}"), schema=SCHEMA if thing % 2 else None)


def test_every_thing_comes_back_once_in_order_with_data_or_text_or_its_problem(tmp_path):
    model, _ = teacher(tmp_path, lambda call: "" if call.item == "i2" else {"n": "x"} if call.schema else "plain")
    found = list(ask_each(model, "s", range(5), call_of))
    assert [thing for thing, *_ in found] == [0, 1, 2, 3, 4]
    assert [data for _, data, _ in found] == ["plain", {"n": "x"}, None, {"n": "x"}, "plain"]
    assert [problem and (problem.stage, problem.item) for *_, problem in found] == [None, None, ("s", "i2"), None, None]


def test_calls_are_made_one_by_one_and_not_ahead_of_all_results(tmp_path):
    model, _ = teacher(tmp_path)
    made = []
    stream = ask_each(model, "s", range(5000), lambda thing: made.append(thing) or call_of(thing))
    next(stream)
    assert len(made) < 5000
    stream.close()


def test_nothing_to_ask_asks_and_prints_nothing(tmp_path, capsys):
    model, asked = teacher(tmp_path)
    assert list(ask_each(model, "s", [], call_of)) == [] == asked
    assert capsys.readouterr().out == ""


def test_a_stage_without_success_raises_with_its_problems(tmp_path):
    model, _ = teacher(tmp_path, lambda call: "")
    with pytest.raises(StageError) as caught:
        list(ask_each(model, "s", range(3), call_of))
    assert [problem.item for problem in caught.value.problems] == ["i0", "i1", "i2"]


def test_a_single_call_that_is_refused_is_a_problem_and_not_the_end_of_a_stage(tmp_path):
    model, _ = teacher(tmp_path, lambda call: "")
    assert [(thing, data, problem.item) for thing, data, problem in ask_each(model, "s", [7], call_of)] == [(7, None, "i7")]  # fmt: skip


def test_a_server_that_is_gone_ends_a_stage_of_a_single_call_too(tmp_path):
    model, _ = teacher(tmp_path)
    model.backend.complete = lambda call, stop: Unusable("no connection", "nobody there")
    with pytest.raises(StageError, match="no connection") as caught:
        list(ask_each(model, "s", [7], call_of))
    assert [problem.item for problem in caught.value.problems] == ["i7"]


def chain(model):
    """Work whose second calls depend on the first replies."""
    first = [data for _, data, _ in ask_each(model, "s", [1, 3], call_of)]
    return list(ask_each(model, "s", first, lambda data: Call("second", prompt(f"and {data['n']}"))))


def test_a_rehearsal_counts_calls_that_depend_on_replies_and_sends_none(tmp_path):
    model, asked = teacher(tmp_path)
    rehearsal = Rehearsal(model)
    chain(rehearsal)
    assert asked == [] and rehearsal.invented == 4
    forecast = rehearsal.forecast()
    assert (forecast.calls, forecast.due) == (4, 4)
    assert forecast.prompt_tokens > 2 * 240 / 4  # the stand-ins in the second prompts count


def test_after_a_run_the_rehearsal_is_the_run(tmp_path):
    model, asked = teacher(tmp_path, lambda call: {"n": call.item} if call.schema else "done")
    done = chain(model)
    rehearsal = Rehearsal(model)
    assert chain(rehearsal) == done
    assert (rehearsal.invented, rehearsal.forecast().due, len(asked)) == (0, 0, 4)


def test_equal_calls_are_paid_once(tmp_path):
    rehearsal = Rehearsal(teacher(tmp_path)[0])
    list(ask_each(rehearsal, "s", [1, 1, 1], call_of))
    assert (rehearsal.forecast().calls, rehearsal.forecast().due) == (3, 1)


def test_a_stand_in_fits_its_schema_and_differs_from_the_next():
    schema = {
        "type": "object",
        "properties": {
            "a": {"type": "array", "items": {"type": "array", "items": {"type": "string"}}},
            "b": {"enum": ["x", "y"]}, "c": {"type": ["null", "string"]}, "d": {"type": "number"}, "e": SCHEMA,
        },
        "required": ["a", "b", "c", "d", "e"],
    }  # fmt: skip
    one, two = stand_in(schema, "1"), stand_in(schema, "2")
    assert misfit(one, schema) == misfit(two, schema) == ""
    texts = [text for row in one["a"] + two["a"] for text in row] + [one["e"]["n"], two["e"]["n"]]
    assert len(set(texts)) == len(texts)
