import random

import pytest

from ragtune_lib.records import Chunk, Document, Question
from ragtune_lib.store import content_id
from ragtune_lib.teacher.holdout import about, hold_out_documents, split_questions


def document(name, text="text"):
    return Document(content_id(name, text), name, name, text, "")


DOCUMENTS = [document(f"notes/{at}.v2.md") for at in range(400)]


def names(documents):
    return [one.name for one in documents]


@pytest.mark.parametrize(("share", "low", "high"), [(0.0, 0, 0), (0.1, 20, 62), (0.5, 160, 240), (1.0, 400, 400)])
def test_every_document_is_on_one_side_in_order_and_about_the_share_is_held_out(share, low, high):
    kept, held = hold_out_documents(DOCUMENTS, share)
    assert low <= len(held) <= high  # four standard deviations
    assert sorted(kept + held, key=DOCUMENTS.index) == DOCUMENTS
    assert kept == [one for one in DOCUMENTS if one in kept]


def test_no_document_changes_sides_because_of_another_or_of_an_edit():
    held = set(names(hold_out_documents(DOCUMENTS, 0.3)[1]))
    some = random.Random(1).sample(DOCUMENTS, 200)
    assert set(names(hold_out_documents(some, 0.3)[1])) == held & set(names(some))
    edited = [document(one.name, "other") for one in DOCUMENTS]
    assert set(names(hold_out_documents(edited, 0.3)[1])) == held
    assert held < set(names(hold_out_documents(DOCUMENTS, 0.4)[1]))  # a larger share holds out the same and more


def test_another_seed_holds_out_others():
    assert hold_out_documents(DOCUMENTS, 0.3, 18) != hold_out_documents(DOCUMENTS, 0.3)


@pytest.mark.parametrize("share", [-0.1, 1.1])
def test_a_share_is_a_share(share):
    with pytest.raises(ValueError, match="share"):
        hold_out_documents(DOCUMENTS, share)


SEEN, UNSEEN = document("a/seen.v1.md"), document("unseen.md")
CHUNKS = [Chunk("c1", SEEN.id, 0, 1, "x", ""), Chunk("c2", UNSEEN.id, 0, 1, "x", "")]


def question(*evidence, scope="local"):
    facts = () if scope == "unanswerable" else (("jam",),)
    return Question(f"q {' '.join(evidence)}", scope, "What?", "Jam.", facts, evidence)


def split(*questions):
    return split_questions(questions, [SEEN], [UNSEEN], CHUNKS)


@pytest.mark.parametrize("evidence", [("a/seen.v1",), ("a/seen.v1.md",), ("c1",), (SEEN.id,), ("c1", "a/seen.v1")])
def test_a_question_about_seen_documents_stays_as_it_is(evidence):
    found = split(question(*evidence))
    assert found.answerable == (question(*evidence),) and not found.unseen and not found.problems


@pytest.mark.parametrize("evidence", [("unseen",), ("c2",), ("c2", "unseen")])
def test_a_question_about_unseen_documents_becomes_unanswerable_under_an_id_of_its_own(evidence):
    (found,) = split(question(*evidence)).unseen
    assert (found.scope, found.facts, found.question) == ("unanswerable", (), "What?")
    assert found.id != question(*evidence).id and found.evidence == evidence and "do not say" in found.answer


def test_what_lies_on_both_sides_or_nowhere_is_a_problem():
    both, lost, none = question("c1", "unseen"), question("c1", "elsewhere"), question()
    found = split(both, lost, none)
    assert not found.answerable and not found.unseen
    assert ["both sides" in problem.reason for problem in found.problems] == [True, False, False]
    assert [problem.item for problem in found.problems] == [both.id, lost.id, none.id]


def test_an_unanswerable_question_stays():
    asked = question(scope="unanswerable")
    assert split(asked).answerable == (asked,)


def test_a_name_that_two_documents_share_decides_nothing():
    twin = document("unseen.txt")
    found = split_questions([question("unseen"), question("unseen.txt")], [twin], [UNSEEN])
    assert [problem.item for problem in found.problems] == ["q unseen"] and len(found.answerable) == 1


def test_only_what_became_unanswerable_is_about_unseen_documents():
    found = split(question("unseen"), question("c1"), question(scope="unanswerable"))
    assert about([*found.answerable, *found.unseen], [UNSEEN]) == list(found.unseen)
    assert about([question("unseen")], [UNSEEN]) == []  # answered from a run without the split
