import pytest
from teacher import asks, part, parts, teacher

from ragtune_lib.records import Chunk, Problem, Question
from ragtune_lib.retrieve import Retriever
from ragtune_lib.score import fact_recall
from ragtune_lib.teacher.verify_questions import Draft, confirm, draft_twins, verify, verify_twins

JAM = Chunk("c1", "d1", 0, 1, "Ilse Brandt sold 14 jars of plum jam to the crew for 40 euros.", "2025-01-06")
BOAT = Chunk("c2", "d2", 0, 1, "Tomas painted the boat green and sold it to a farmer.", "2025-03-09")
GULL = Chunk("c3", "d3", 0, 1, "A gull stole the sign of the shop.", "")
RETRIEVER = Retriever([JAM, BOAT, GULL], None, "bm25")
LOCAL = Draft("local", "How many jars did the jam seller get rid of?", (JAM,), "She sold 14 jars.", (("14", "fourteen"),))  # fmt: skip
WIDE = Draft("personas", "Who made money, and how?", (JAM, BOAT), "Ilse sold plum jam and Tomas a boat.", (("plum jam",), ("boat",)))  # fmt: skip


def test_a_local_question_passes_when_source_reference_and_answer_agree():
    made = confirm(LOCAL, "It was fourteen.")
    assert isinstance(made, Question)
    assert (made.scope, made.question, made.answer, made.facts) == ("local", LOCAL.question, LOCAL.answer, LOCAL.facts)
    assert made.evidence == ("c1",) and fact_recall(made.answer, made.facts) == 1


@pytest.mark.parametrize(
    ("change", "said", "reason"),
    [
        ({}, "It was twelve.", "states 0 of 1"),
        ({}, "The passages do not say whether it was 14.", "states"),
        ({"facts": (("15",),)}, "15", "0 of 1 facts stand"),  # not in the source
        ({"answer": "Some jars."}, "14", "0 of 1 facts stand"),  # not in the reference
        ({"question": "Did she sell 14 jars?"}, "14", "0 of 1 facts stand"),  # given away
        ({"facts": (("the", "!"),)}, "the", "0 of 1 facts stand"),  # every answer has it
        ({"facts": (("14",), ("crew",)), "answer": "14 jars, to the crew."}, "14", "states 1 of 2"),
        ({"facts": ()}, "14", "0 of 0 facts"),
    ],
)
def test_a_draft_that_cannot_be_scored_is_a_problem_with_the_reason(change, said, reason):
    draft = Draft(**{**{name: getattr(LOCAL, name) for name in LOCAL.__slots__}, **change})
    found = confirm(draft, said)
    assert isinstance(found, Problem) and reason in found.reason and draft.question in found.item


def test_a_global_question_keeps_the_facts_that_both_answers_name():
    draft = Draft("personas", WIDE.question, (JAM, BOAT, GULL), f"{WIDE.answer} The crew and a farmer paid.", (*WIDE.facts, ("farmer",), ("crew",)))  # fmt: skip
    made = confirm(draft, "By a boat, and plum jam for a farmer.")
    assert made.facts == (("plum jam",), ("boat",), ("farmer",))
    assert (made.scope, made.evidence) == ("global", ("c1", "c2"))  # the gull's chunk states none
    assert "states 1 of 2" in confirm(WIDE, "By a boat.").reason


def test_wordings_are_cleaned_and_a_fact_is_counted_once():
    facts = ((" 14 ", "14", "", "of"), ("14",))
    made = confirm(Draft("local", LOCAL.question, (JAM,), LOCAL.answer, facts), "14")
    assert made.facts == (("14",),)


def test_a_date_of_the_document_counts_as_stated():
    draft = Draft("local", "When was jam sold?", (JAM,), "On 6 January 2025.", (("6 January 2025", "2025-01-06"),))
    assert isinstance(confirm(draft, "On 6 January 2025."), Question)
    assert isinstance(confirm(draft, "On 7 January 2025."), Problem)


def reply(call):
    question = part(call, "question")
    if asks(call) == "able answer facts":
        able = "gull" not in question
        return {"able": able, "answer": WIDE.answer if able else "", "facts": [list(fact) for fact in WIDE.facts]}
    return "She sold 14 jars of plum jam, he a boat." if "unread" not in question else ""


def test_every_draft_becomes_a_question_or_a_problem_in_order(tmp_path):
    model, asked = teacher(tmp_path, reply)
    bare = [Draft("personas", text) for text in ("Who sold something?", "What about the gull?", "unread boat?")]
    passed, problems = verify(model, [bare[0], LOCAL, *bare[1:]], RETRIEVER, 2)
    assert [question.question for _, question in passed] == [bare[0].question, LOCAL.question]
    assert [draft.question for draft, _ in passed] == [bare[0].question, LOCAL.question]
    assert {problem.item for problem in problems} == {bare[1].item, bare[2].item}
    assert sum(asks(call) == "" for call in asked) == 3  # what the passages do not answer is not asked again


def test_the_second_look_sees_the_source_and_not_the_reference(tmp_path):
    model, asked = teacher(tmp_path, reply)
    verify(model, [LOCAL], RETRIEVER)
    (call,) = asked
    assert [heading for heading, _ in parts(call)] == ["passage 1 of 1, dated 2025-01-06", "question", "end"]
    assert LOCAL.answer not in call.messages[0][1]


def test_a_global_draft_is_answered_from_what_retrieval_finds(tmp_path):
    model, asked = teacher(tmp_path, reply)
    verify(model, [Draft("personas", "Who painted the boat?")], RETRIEVER, 1)
    assert part(asked[0], "passage 1 of 1") == BOAT.text


def twin_reply(call):
    if asks(call) == "question statement":
        text = part(call, "question")
        return {"question": "" if "bad" in text else f"Twin of {text}", "statement": "The gull stole ___."}
    return {"found": "nearest words", "stated": "known" in part(call, "question")}


def test_a_twin_is_kept_when_the_corpus_does_not_answer_it(tmp_path):
    model, asked = teacher(tmp_path, twin_reply)
    originals = [Draft("local", text, (JAM,)) for text in ("how much?", "known thing?", "bad one?")]
    twins, untwinned = draft_twins(model, originals, 0.7, 9)
    assert [twin.question for twin in twins] == ["Twin of how much?", "Twin of known thing?"]
    assert [problem.item for problem in untwinned] == ["twin: of bad one?"]
    assert {(call.temperature, call.sample) for call in asked} == {(0.7, 9)}
    kept, problems = verify_twins(model, twins, RETRIEVER, 1)
    (question,) = kept
    assert (question.question, question.scope, question.facts) == ("Twin of how much?", "unanswerable", ())
    assert (problems[0].item, problems[0].reply) == ("twin: Twin of known thing?", "nearest words")


def test_a_twin_is_checked_against_its_original_source_and_what_two_searches_find(tmp_path):
    model, asked = teacher(tmp_path, twin_reply)
    verify_twins(model, [Draft("twin", "Who painted it?", (JAM,), statement="The gull stole ___.")], RETRIEVER, 1)
    texts = [text for heading, text in parts(asked[0]) if heading.startswith("passage")]
    assert texts == [JAM.text, BOAT.text, GULL.text]  # in reading order


def test_nothing_gives_nothing(tmp_path):
    model, asked = teacher(tmp_path)
    assert verify(model, [], RETRIEVER) == ([], []) == draft_twins(model, [], 0.7, 1)
    assert verify_twins(model, [], RETRIEVER) == ([], []) and asked == []
