import json
import random

import pytest

from ragtune_lib.graph import build_llm
from ragtune_lib.graph.build import build_graph
from ragtune_lib.graph.build_llm import merge, summarize
from ragtune_lib.llm import Model, Scripted
from ragtune_lib.llm.calls import Unusable
from ragtune_lib.llm.cost import Meter
from ragtune_lib.llm.reply_cache import ReplyCache
from ragtune_lib.records import Chunk, ExtractedEntity, ExtractedRelationship, Mention

TEXTS = ["Ilse Brandt left Bremen. She likes pears.", "In Bremen, Ilse Brandt's boat sank. Tomas met Ilse Brandt."]
CHUNKS = [Chunk(f"c{n}", f"d{n}", 0, len(text), text, f"2025-01-0{2 - n}") for n, text in enumerate(TEXTS)]


def node(name, chunk=0, kind="person", description=""):
    return ExtractedEntity(name, kind, description, f"c{chunk}")


def edge(source, target, chunk=0, weight=5.0, description=""):
    return ExtractedRelationship(source, target, description, weight, f"c{chunk}")


def merged(entities, relationships=(), chunks=CHUNKS):
    entities, relationships, descriptions = merge(entities, relationships, chunks)
    names = {entity.id: entity.name for entity in entities}
    links = {frozenset((names[link.source], names[link.target])): link for link in relationships}
    return {entity.name: entity for entity in entities}, links, descriptions


def test_records_merge_by_name_and_the_commonest_spelling_and_type_win():
    found, _, _ = merged(
        [node("Copper Whisk", 0, "geo"), node("the COPPER whisk", 0, "geo"), node("Copper Whisk", 1, "event"),
         node("Copper-Whisk", 1, "")],
    )  # fmt: skip
    assert [(entity.name, entity.kind, entity.chunk_ids) for entity in found.values()] == [
        ("Copper Whisk", "geo", ("c0", "c1"))
    ]


def test_the_id_of_an_entity_is_the_one_that_the_rules_give():
    found, _, _ = merged([node("the Ilse Brandt")])
    by_rules, _ = build_graph([Mention("Ilse Brandt", "name", "S", "c0", 0)], CHUNKS)
    assert [entity.id for entity in found.values()] == [entity.id for entity in by_rules]


def test_what_only_signs_tell_apart_stays_apart():
    chunks = [Chunk("c0", "d", 0, 99, "We moved from C to C++. He hates C#.", "")]
    found, _, _ = merged([node("C"), node("C++"), node("C#")], chunks=chunks)
    assert {name: [sentence.text for sentence in entity.evidence] for name, entity in found.items()} == {
        "C": ["We moved from C to C++."], "C++": ["We moved from C to C++."], "C#": ["He hates C#."],
    }  # fmt: skip


def test_weights_are_summed_and_directions_joined():
    _, links, _ = merged(
        [node("Ada"), node("Ben")], [edge("Ada", "Ben", 0, 7.0), edge("Ben", "Ada", 0, 2.5), edge("Ada", "Ben", 1, 1.0)]
    )
    (link,) = links.values()
    assert (link.weight, link.chunk_ids, link.source < link.target) == (10.5, ("c0", "c1"), True)


def test_every_description_is_kept_once_in_order_of_date():
    nodes = [node("Ada", 0, description="A late one."), node("Ada", 1, description="Early."), node("Ada", 1, description="Also."),
             node("Ada", 0, description="Early."), node("Ada", 0)]  # fmt: skip
    found, _, descriptions = merged(nodes)
    assert found["Ada"].description == "Also. Early. A late one."  # chunk 1 is a day earlier than chunk 0
    assert descriptions == {found["Ada"].id: ("Also.", "Early.", "A late one.")}


def test_an_end_that_was_not_extracted_is_added_without_description():
    found, links, _ = merged([node("Ada", description="D.")], [edge("Ada", "Ben", 1), edge("ben", "Cy", 0)])
    assert (found["Ben"].kind, found["Ben"].description, found["Ben"].chunk_ids) == ("", "", ("c0", "c1"))
    assert set(links) == {frozenset(("Ada", "Ben")), frozenset(("Ben", "Cy"))}
    assert found["Ada"].chunk_ids == ("c0",)  # as an end she is in c1 too, but she was extracted from c0 alone


def test_evidence_are_the_sentences_that_name_it_ranked_in_reading_order():
    found, links, _ = merged(
        [node("Ilse Brandt"), node("Ilse Brandt", 1), node("Bremen"), node("Bremen", 1), node("Pear Tree")],
        [edge("Bremen", "Ilse Brandt"), edge("Bremen", "Ilse Brandt", 1)],
    )
    expected = [("Ilse Brandt left Bremen.", "c0", "2025-01-02", 0),
                ("In Bremen, Ilse Brandt's boat sank.", "c1", "2025-01-01", 1),
                ("Tomas met Ilse Brandt.", "c1", "2025-01-01", 2)]  # fmt: skip
    rows = [(s.text, s.chunk_id, s.date, s.position) for s in found["Ilse Brandt"].evidence]
    assert rows == expected
    assert [s.text for s in links[frozenset(("Bremen", "Ilse Brandt"))].evidence] == [row[0] for row in expected[:2]]
    assert found["Pear Tree"].evidence == ()


def test_evidence_comes_only_from_chunks_that_it_was_extracted_from():
    found, _, _ = merged([node("Ilse Brandt", 1)])
    assert {sentence.chunk_id for sentence in found["Ilse Brandt"].evidence} == {"c1"}


def test_evidence_of_a_link_comes_only_from_chunks_that_it_was_extracted_from():
    nodes = [node(name, chunk) for name in ("Ilse Brandt", "Bremen") for chunk in (0, 1)]
    _, links, _ = merged(nodes, [edge("Bremen", "Ilse Brandt", 1)])
    assert [s.chunk_id for link in links.values() for s in link.evidence] == ["c1"]


def test_a_name_that_is_also_a_word_is_found_where_it_is_written_as_a_name():
    chunks = [Chunk("c0", "d", 0, 99, "Go is a language. I go home to Google. We go to Rust.", "")]
    found, _, _ = merged([node("Go"), node("pears"), node("RUST")], chunks=chunks)
    assert [sentence.text for sentence in found["Go"].evidence] == ["Go is a language."]
    assert [sentence.text for sentence in found["RUST"].evidence] == ["We go to Rust."]


def test_a_sentence_in_two_overlapping_chunks_is_one_sentence_whole():
    text = "Ada sang. Ada met Ben at sea. Ben slept."
    chunks = [Chunk("a", "d", 0, 20, text[:20], ""), Chunk("b", "d", 10, len(text), text[10:], "")]
    nodes = [ExtractedEntity(name, "person", "", chunk) for name in ("Ada", "Ben") for chunk in ("a", "b")]
    found, _, _ = merged(nodes, chunks=chunks)
    assert [(s.text, s.chunk_id) for s in found["Ada"].evidence] == [("Ada sang.", "a"), ("Ada met Ben at sea.", "b")]
    assert [s.text for s in found["Ben"].evidence] == ["Ada met Ben at sea.", "Ben slept."]


def test_the_order_of_records_does_not_matter():
    rng = random.Random(0)
    names = [f"N{number}" for number in range(12)]
    nodes = [node(rng.choice(names), rng.randrange(2), rng.choice("ab"), f"D{rng.randrange(30)}.") for _ in range(60)]
    edges = [edge(*rng.sample(names, 2), rng.randrange(2), 2.0, f"R{rng.randrange(30)}.") for _ in range(60)]
    expected = merge(nodes, edges, CHUNKS)
    for _ in range(3):
        rng.shuffle(nodes)
        rng.shuffle(edges)
        assert merge(nodes, edges, CHUNKS) == expected


def test_descriptions_do_not_depend_on_the_order_of_the_chunks():
    nodes = [node("Ada", 0, description="B."), node("Ada", 1, description="A.")]
    assert merge(nodes, [], CHUNKS)[2] == merge(nodes, [], CHUNKS[::-1])[2]


def test_nothing_merges_to_nothing():
    assert merge([], [], []) == ([], [], {})


# summaries


@pytest.fixture
def model(tmp_path):
    def made(reply):
        return Model("scripted", ReplyCache(tmp_path / "calls.sqlite"), Scripted(reply), Meter(None))

    return made


def notes(call):
    return [line for line in call.messages[0][1].splitlines() if line.startswith("note ")]


def described(count, length=100):
    return merge(
        [node("Ada", description=f"note {n:03} ".ljust(length - 1, "x") + ".") for n in range(count)], [], CHUNKS
    )


def told(text):
    return json.dumps({"description": text})


def test_short_descriptions_stay_and_long_ones_are_summarised_once(model):
    one = model(lambda call: told(f"{len(notes(call))} notes."))
    graph = described(5)
    assert summarize(one, *graph, limit=504) == (graph[0], graph[1], [])  # 5 x 100 and 4 blanks
    assert one.backend.asked == []
    entities, _, problems = summarize(one, *graph, limit=503)
    assert ([entity.description for entity in entities], problems) == (["5 notes."], [])
    assert len(one.backend.asked) == 1 and "\nsubject: Ada\n" in one.backend.asked[0].messages[0][1]


def test_a_relationship_is_summarised_under_both_names(model):
    one = model(lambda call: told("Short."))
    graph = merge([], [edge("Ada", "Ben", n % 2, description=f"note {n} " + "x" * 90) for n in range(5)], CHUNKS)
    _, links, _ = summarize(one, *graph, limit=100)
    assert [link.description for link in links] == ["Short."]
    subjects = one.backend.asked[0].messages[0][1]
    assert "\nsubject: Ada and Ben\n" in subjects or "\nsubject: Ben and Ada\n" in subjects


def test_a_single_long_description_is_left_alone(model):
    one = model(lambda call: told("Short."))
    graph = described(1, 5_000)
    assert summarize(one, *graph, limit=100)[0] == graph[0]


def test_what_does_not_fit_into_one_call_is_summarised_in_parts_and_these_again(model, monkeypatch):
    monkeypatch.setattr(build_llm, "WINDOW", 100)  # 400 characters: four notes
    seen = []

    def reply(call):
        lines = notes(call)
        seen.append(len(lines))
        return told(f"note {len(seen)} of {len(lines)}".ljust(100, "y"))

    entities, _, problems = summarize(model(reply), *described(9), limit=150)
    # 4 + 4 + 1: the last one alone needs no call; then two summaries and it
    assert (sorted(seen), problems) == ([3, 4, 4], [])
    assert len(entities[0].description) == 100


def test_a_failed_summary_leaves_the_descriptions_and_is_a_problem(model):
    graph = described(5)
    entities, _, problems = summarize(model(lambda call: "no"), *graph, limit=100)
    assert entities == graph[0]
    assert [(problem.item, problem.reason.split(":")[0]) for problem in problems] == [(entities[0].id, "unreadable")]


def test_an_empty_summary_is_a_problem_too(model):
    graph = described(5)
    entities, _, problems = summarize(model(lambda call: told("  ")), *graph, limit=100)
    assert (entities, [problem.reason for problem in problems]) == (graph[0], ["the summary is empty"])


def test_summaries_that_are_no_shorter_do_not_go_on_for_ever(model, monkeypatch):
    monkeypatch.setattr(build_llm, "WINDOW", 10)
    one = model(lambda call: told("z" * 1000 + str(len(notes(call)))))
    entities, _, _ = summarize(one, *described(8), limit=100)
    assert len(one.backend.asked) <= 4 + 2 + 1 and entities[0].description


def test_a_budget_that_is_used_up_ends_the_stage_and_not_the_descriptions(model):
    class Backend(Scripted):
        def complete(self, call, stop):
            return Unusable("budget reached")

    one = model(None)
    one.backend = Backend(None)
    with pytest.raises(Exception, match="budget reached"):
        summarize(one, *described(5), limit=100)
