import math
import random
from dataclasses import replace
from itertools import pairwise

import pytest
from tiny import CHUNKS, ENTITIES, RELATIONSHIPS, chunks_of, entities_of, relationships_of

from ragtune_lib.records import Community, Entity
from ragtune_lib.store import content_id
from ragtune_lib.teacher.pair_plan import GENERATORS, Generators, chosen_generators, plan_synthesis
from ragtune_lib.teacher.question_templates import ENTITY, OTHER, RELATION, entity_forms

TYPES = ("Person", "EVENT", "organization", "geo")
SWITCHES = ("entity_template", "entity_cot", "relation_template", "relation_cot", "local_entity", "local_relation")
OFF = dict.fromkeys(SWITCHES, False)


def corpus(seed, days=12, names=9):
    """A random corpus: which name is in which chunk, and so which are related."""
    chooser = random.Random(seed)
    words = [f"Name{at}" for at in range(names)]
    told = [" and ".join(chooser.sample(words, chooser.randrange(1, 5))) + " met." for _ in range(days)]
    chunks = chunks_of({f"2025-01-{at + 1:02}": text for at, text in enumerate(told)})
    entities = entities_of(chunks, dict.fromkeys(words, "name"))
    entities = [replace(entity, kind=chooser.choice(TYPES)) for entity in entities if entity.chunk_ids]
    edges = [replace(edge, description="They met.") for edge in relationships_of(entities)]
    half = len(entities) // 2
    groups = [
        Community(f"g{at}", 0, "", tuple(entity.id for entity in part), "Group", "About it.", ())
        for at, part in enumerate((entities[:half], entities[half:], entities[:1]))
    ]
    return chunks, entities, edges, groups


def planned(seed=0, **settings):
    return plan_synthesis(*corpus(seed), Generators(**settings))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("types", [(), ("person", "Geo"), ("EVENT",)])
def test_n_is_that_of_the_formula(seed, types):
    chunks, entities, edges, groups = corpus(seed)
    plan = plan_synthesis(chunks, entities, edges, groups, Generators(entity_types=types, community_questions=3))
    wanted = {name.lower() for name in types}
    chosen = [entity for entity in entities if not wanted or entity.kind.lower() in wanted]
    inside = sum(chunk.id in subject.chunk_ids for chunk in chunks for subject in [*entities, *edges])
    assert plan.size == 2 * len(chosen) + 2 * len(edges) + inside + 3 * 2  # a community of one gets no question
    assert len(plan.pairs) + sum(task.wanted for task in plan.tasks) + len(plan.problems) == plan.size
    assert not plan.problems and f"{plan.size:,} pairs" in str(plan)


@pytest.mark.parametrize("name", SWITCHES)
def test_each_switch_turns_on_its_generator_and_no_other(name):
    plan = planned(**{**OFF, name: True, "community_questions": 0})
    assert set(plan.planned) == {name}
    assert {*(pair.kind for pair in plan.pairs), *(task.kind for task in plan.tasks)} == {name}
    assert bool(plan.pairs) == name.endswith("template")


def test_a_type_that_no_entity_has_is_named():
    plan = planned(entity_types=("food", "Person"))
    assert plan.unmatched == ("food",) and "no entity has the type food" in str(plan)


def test_what_cannot_be_asked_is_a_problem_of_its_generator():
    chunks, _, edges, _ = corpus(0)
    bare = Entity("e-bare", "Nobody", "person", "", (), (chunks[0].id,))
    gone = Entity("e-gone", "Ghost", "person", "A ghost.", (), ("c-deleted",))
    plan = plan_synthesis(chunks, [bare, gone], edges[:0], [], Generators())
    assert plan.planned == {"entity_template": 2, "entity_cot": 2, "local_entity": 1}
    assert [problem.item for problem in plan.problems] == [
        "entity_template: Nobody", "entity_template: Ghost", "entity_cot: Ghost",
    ]  # fmt: skip
    assert plan.size == len(plan.pairs) + len(plan.tasks) + len(plan.problems)


def test_a_relationship_with_an_unknown_end_is_not_asked_about_by_its_id():
    chunks, entities, edges, _ = corpus(0)
    edge = replace(edges[0], target="no-such-entity", chunk_ids=edges[0].chunk_ids[:1])
    plan = plan_synthesis(chunks, entities, [edge], [], Generators(entity_template=False, entity_cot=False, local_entity=False))  # fmt: skip
    assert (plan.pairs, plan.tasks, plan.size, len(plan.problems)) == ((), (), 3, 3)
    assert all("no-such-entity" in problem.item and "unknown" in problem.reason for problem in plan.problems)


def test_the_template_answer_is_the_description_and_the_question_a_form_of_its_type():
    plan = planned(**{**OFF, "entity_template": True, "relation_template": True, "community_questions": 0})
    _, entities, edges, _ = corpus(0)
    names = {entity.id: entity.name for entity in entities}
    by_fact = {pair.fact_id: pair for pair in plan.pairs}
    for entity in entities:
        pair = by_fact[content_id("entity", entity.id)]
        assert (pair.answer, pair.reasoning, pair.scope) == (entity.description, "", "global")
        assert pair.question in {form.format(name=entity.name) for form in ENTITY[entity.kind.lower()]}
        assert pair.evidence_ids == entity.chunk_ids
    for edge in edges:
        pair = by_fact[content_id("relationship", edge.id)]
        ends = {"a": names[edge.source], "b": names[edge.target]}
        assert pair.question in {form.format(**ends) for form in RELATION}


def test_a_form_does_not_depend_on_who_else_is_asked_about_but_on_the_seed():
    chunks, entities, edges, _ = corpus(0)

    def questions(some, seed=17):
        plan = plan_synthesis(chunks, some, edges, [], Generators(seed=seed))
        return {pair.fact_id: pair.question for pair in plan.pairs}

    few, many = questions(entities[::2]), questions(entities[::-1])
    shared = {content_id("entity", entity.id) for entity in entities[::2]}
    assert {fact: few[fact] for fact in shared} == {fact: many[fact] for fact in shared}
    assert questions(entities, 18) != questions(entities)
    person = [replace(entity, kind="person") for entity in entities]
    plan = plan_synthesis(chunks, person, [], [], Generators(**{**OFF, "entity_template": True}))
    assert len({pair.question[:7] for pair in plan.pairs}) > 2  # not one form for all


def test_there_are_six_forms_for_each_of_six_types_and_nine_for_relations():
    assert [len(forms) for forms in (*ENTITY.values(), OTHER, RELATION)] == [6] * 7 + [9]
    assert all("{name}" in form for forms in (*ENTITY.values(), OTHER) for form in forms)
    assert all("{a}" in form and "{b}" in form for form in RELATION)
    assert entity_forms(" Specific Object ") == ENTITY["specific object"] and entity_forms("phrase") == OTHER


def test_a_name_with_braces_stays_a_name():
    entity = Entity("e1", "{a} $b {0}", "person", "Odd.", (), (CHUNKS[0].id,))
    (pair,) = plan_synthesis(CHUNKS, [entity], [], [], Generators(**{**OFF, "entity_template": True})).pairs
    assert "{a} $b {0}" in pair.question


@pytest.mark.parametrize("most", [1, 2, 30])
def test_a_global_subject_is_shown_with_its_chunks_evenly_and_in_reading_order(most):
    chunks = chunks_of({f"2025-01-{at + 1:02}": "Ilse sold jam." for at in range(31)})
    ids = tuple(sorted(chunk.id for chunk in chunks))  # c1, c10, c11, ...: not the reading order
    entity = Entity("e1", "Ilse", "person", "She sells.", (), ids)
    plan = plan_synthesis(chunks, [entity], [], [], Generators(context_chunks=most, local_entity=False))
    (task,) = plan.tasks
    places = [[chunk.id for chunk in chunks].index(name) for name in task.chunk_ids]
    assert places == sorted(places) and len(places) == most
    assert places[0] == 0 and (most == 1 or places[-1] == 30)
    assert not most > 1 or max(b - a for a, b in pairwise(places)) <= math.ceil(31 / (most - 1))


def test_a_community_is_shown_with_the_chunks_that_name_most_members():
    chunks = chunks_of({"2025-01-01": "A", "2025-01-02": "A B", "2025-01-03": "B", "2025-01-04": "A B C"})
    entities = [
        Entity("a", "A", "person", "", (), ("c0", "c1", "c3")),
        Entity("b", "B", "person", "", (), ("c1", "c2", "c3")),
        Entity("c", "C", "person", "", (), ("c3",)),
        Entity("z", "Z", "person", "", (), ("c0", "c2")),
    ]
    group = Community("g", 1, "", ("a", "b", "c"), "A, B", "They met.", ())
    plan = plan_synthesis(chunks, entities, [], [group], Generators(**OFF, context_chunks=2))
    (task,) = plan.tasks
    assert task.chunk_ids == ("c1", "c3") and set(task.names) == {"A", "B", "C"}
    assert (task.wanted, plan.size) == (2, 2)


def test_local_tasks_go_chunk_by_chunk_with_a_fact_of_their_own():
    plan = plan_synthesis(CHUNKS, ENTITIES, RELATIONSHIPS, [], Generators(**{**OFF, "local_entity": True}))
    order = [chunk.id for chunk in CHUNKS]
    places = [order.index(task.chunk_ids[0]) for task in plan.tasks]
    assert places == sorted(places) and all(len(task.chunk_ids) == 1 for task in plan.tasks)
    assert len({task.fact_id for task in plan.tasks}) == len(plan.tasks) == sum(len(e.chunk_ids) for e in ENTITIES)


def test_nothing_gives_nothing():
    plan = plan_synthesis([], [], [], [], Generators())
    assert (plan.size, plan.pairs, plan.tasks, plan.problems) == (0, (), (), ())
    assert "0 pairs" in str(plan)


def test_generators_are_switched_by_their_names():
    chosen = chosen_generators("local_entity, entity_cot", community_questions=0, seed=3)
    assert [name for name in GENERATORS if getattr(chosen, name)] == ["entity_cot", "local_entity"]
    assert (chosen.community_questions, chosen.seed) == (0, 3)
    assert not any(getattr(chosen_generators(""), name) for name in GENERATORS)
    with pytest.raises(ValueError, match="'entity_cott' is unknown; known: entity_template"):
        chosen_generators("entity_cott")
