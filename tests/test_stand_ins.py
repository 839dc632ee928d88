"""Stand-ins of a plan: they fit, they differ, and the work goes on after them."""

import json
import threading
from dataclasses import replace

from ragtune_lib.graph.entity_types import ENTITY_TYPES
from ragtune_lib.graph.extract_llm import extract, first_call, gleaning_call
from ragtune_lib.judges.llm_judge import PAPER
from ragtune_lib.llm import Call, Model, open_model, prompt
from ragtune_lib.llm.calls import Reply
from ragtune_lib.llm.cost import FREE, Meter
from ragtune_lib.llm.replies import TEXT, YES, fields, misfit
from ragtune_lib.records import Chunk, Entity, Question
from ragtune_lib.stand_ins import StandIns, reply
from ragtune_lib.teacher.pair_plan import Generators, plan_synthesis
from ragtune_lib.teacher.pairs import synthesize
from ragtune_lib.teacher.verify_questions import FACTS, Draft, _answer_call, _reference_call, confirm

STORY = (
    "In March Ilse Brandt sold forty jars of plum jam at the harbour market. Tomas Reil carried the crates. "
    "Later Ilse Brandt and Tomas Reil painted the boat house at Halden."
)
CHUNK = Chunk("c1", "d1", 0, len(STORY), STORY, "2025-03-09")


def stand_ins(folder, spec="openai:gpt-4o-mini"):
    """The model that a plan asks."""
    real = open_model(spec, folder / "calls.sqlite")
    return Model(real.name, real.cache, StandIns(real), Meter(FREE), 1)


def test_a_stand_in_fits_its_schema_and_is_the_same_for_the_same_call():
    deep = fields(
        able=YES, facts=FACTS, pair_1=fields(question=TEXT, answer=TEXT), more={"type": "array", "items": TEXT}
    )
    for schema in (PAPER.schema(), deep):
        call = Call("a", prompt("Judge the answers of both houses"), schema=schema)
        assert misfit(json.loads(reply(call)), schema) == ""
        assert reply(call) == reply(replace(call, item="b"))
        assert reply(call) != reply(replace(call, sample=1))


def test_the_graph_is_what_rules_find_and_gleaning_finds_no_more(tmp_path):
    call = first_call(CHUNK, ENTITY_TYPES)
    found = json.loads(reply(call))
    names = {entity["name"] for entity in found["entities"]}
    assert {"Ilse Brandt", "Tomas Reil"} <= names
    assert {entity["type"] for entity in found["entities"]} == {ENTITY_TYPES[0]}
    assert ["Ilse Brandt", "Tomas Reil"] in [sorted((row["source"], row["target"])) for row in found["relationships"]]
    assert json.loads(reply(gleaning_call(call, "{}"))) == {"entities": [], "relationships": []}
    entities, _, problems = extract(stand_ins(tmp_path), [CHUNK])
    assert {entity.name for entity in entities} == names
    assert problems == []


def test_every_planned_pair_is_made_so_that_what_reads_pairs_is_counted(tmp_path):
    entities = [
        Entity(name, name, "person", f"{name} sells jam.", (), ("c1",)) for name in ("Ilse Brandt", "Tomas Reil")
    ]
    plan = plan_synthesis([CHUNK], entities, [], [], Generators(community_questions=0))
    made = synthesize(stand_ins(tmp_path), plan)
    assert (len(made.pairs), made.problems, made.unable) == (plan.size, (), ())


def test_a_held_out_draft_passes_its_verification():
    draft = Draft("personas", "What was done in spring?", (CHUNK,))
    data = json.loads(reply(_reference_call(draft)))
    known = replace(draft, answer=data["answer"], facts=tuple(tuple(fact) for fact in data["facts"]))
    assert isinstance(confirm(known, reply(_answer_call(draft))), Question)


def test_tokens_are_those_of_the_forecast(tmp_path):
    call = Call("a", prompt("x" * 400), max_tokens=1000)
    model = stand_ins(tmp_path)
    first = model.backend.complete(call, threading.Event())
    assert (first.prompt_tokens, first.output_tokens) == (104, 1000)
    for number in range(20):  # real replies are a tenth as long as they may be
        model.cache.put(str(number), model.name, call, Reply("yes", None, "gpt", 200, 100, 0.1))
    later = stand_ins(tmp_path).backend.complete(call, threading.Event())
    assert (later.prompt_tokens, later.output_tokens) == (204, 100)
    expected = model.forecast([call])
    assert (expected.prompt_tokens, expected.output_tokens) == (204, 100)
