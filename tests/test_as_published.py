import pytest

from ragtune_lib.judges.as_published import judge_as_published, lenient_verdicts, lenient_winner, raw_against_published
from ragtune_lib.judges.llm_judge import PAPER
from ragtune_lib.llm import Model, Scripted
from ragtune_lib.llm.cost import FREE, Meter
from ragtune_lib.llm.reply_cache import ReplyCache
from ragtune_lib.records import Answer, Question, Verdict

HEADS = ("Usefulness / Correctness", "Richness / Diversity", "Insightfulness / Deep Understanding", "User-Friendliness")
QUESTIONS = [Question(f"q{n}", "local", f"Number {n}?", "Nine.", (), ()) for n in range(3)]
ANSWERS = [
    Answer(q.id, s, text, (), 1, 1, 0.1) for q in QUESTIONS for s, text in (("tuned", "Nine."), ("rag", "Eight!"))
]


def reply(*verdicts, blank="\n\n"):
    return blank.join(f"**{head}**: {said}\nReason: because" for head, said in zip(HEADS, verdicts, strict=False))


@pytest.fixture
def model_of(tmp_path):
    def make(answer):
        return Model("scripted", ReplyCache(tmp_path / "calls.sqlite"), Scripted(answer), Meter(FREE), workers=2)

    return make


@pytest.mark.parametrize(
    ("said", "winner"),
    [
        ("A", "a"), ("B", "b"), ("A/B", "a"), ("Answer B", "a"), ("Both A and B", "a"), ("B > A", "a"), ("N/A", "a"),
        ("Both", "b"), ("neither", "tie"), ("b", "tie"),
    ],
)  # fmt: skip
def test_the_letter_a_is_looked_for_first(said, winner):
    assert lenient_winner(said) == winner


def test_blocks_between_blank_lines_are_read():
    found = lenient_verdicts(reply("A", "B", "A/B", "tie"))
    assert [(name, found[name][0]) for name in PAPER.criteria] == list(
        zip(PAPER.criteria, ("a", "b", "a", "tie"), strict=True)
    )
    assert found["usefulness"][1] == "because"


def test_a_reply_in_the_very_format_that_was_asked_for_gives_the_first_criterion_alone():
    assert lenient_verdicts(reply("B", "B", "B", "B", blank="\n")) == {"usefulness": ("b", "because")}


@pytest.mark.parametrize(
    "text", ["", "A", "Here you are:\n\n" + reply("A", "B"), "Usefulness: A", "Usefulness:A\nReason: x"]
)
def test_a_block_of_another_form_fails_the_whole_reply(text):
    assert lenient_verdicts(text) == {}


def test_the_tuned_model_is_always_a_and_asked_once(model_of):
    model = model_of(lambda call: reply("A", "B", "A", "neither"))
    found = judge_as_published(model, QUESTIONS, ANSWERS, [("tuned", "rag")])
    assert len(model.backend.asked) == 3
    for call in model.backend.asked:
        assert call.messages[1][1].index("A: Nine.") < call.messages[1][1].index("B: Eight!")
        assert (call.schema, call.temperature) == (None, 1.0)
        assert "Usefulness / Correctness: A/B" in call.messages[0][1]
    assert {(one.criterion, one.winner, one.value_a, one.value_b) for one in found.verdicts} == {
        ("usefulness", "a", 1.0, 0.0), ("richness", "b", 0.0, 1.0), ("insight", "a", 1.0, 0.0),
        ("friendliness", "tie", 0.0, 0.0),
    }  # fmt: skip
    assert {one.judge for one in found.verdicts} == {"scripted (as published)"}
    assert not found.problems


def test_the_podcast_variant_fills_the_a_in(model_of):
    model = model_of(lambda call: reply("A", "A", "A", "A"))
    judge_as_published(model, QUESTIONS, ANSWERS, [("tuned", "rag")], {"q0": "x" * 60_000}, example="A")
    rules = model.backend.asked[0].messages[0][1]
    assert rules.count(": A\n") == 4 and "A/B" not in rules
    assert max(call.messages[1][1].count("x") for call in model.backend.asked) == pytest.approx(50_000, abs=10)


def test_what_is_not_read_is_counted(model_of):
    def answer(call):
        if "Number 1" in call.messages[1][1]:
            return reply("A", "A", "A", "A", blank="\n")
        return "" if "Number 2" in call.messages[1][1] else reply("A", "A", "A", "A")

    some = [one for one in ANSWERS if one.question_id != "q0" or one.system != "rag"]
    found = judge_as_published(model_of(answer), QUESTIONS, some, [("tuned", "rag")])
    assert len(found.calls) == len(found.verdicts) == 3 * 4
    assert [(problem.item, problem.reason) for problem in found.problems] == [
        ("q0, tuned against rag, as published", "no answer of rag: usefulness, richness, insight, friendliness"),
        (
            "q1, tuned against rag, as published",
            "the published parser does not read it: richness, insight, friendliness",
        ),
        (
            "q2, tuned against rag, as published",
            "empty: the reply has no text: usefulness, richness, insight, friendliness",
        ),
    ]
    assert sum(one.winner == "invalid" for one in found.verdicts) == 4 + 3 + 4


def test_the_table_by_hand(model_of):
    """A judge that always names the first: half of the questions by both orders, all of them as published."""
    found = judge_as_published(model_of(lambda call: reply("A", "A", "A", "A")), QUESTIONS, ANSWERS, [("tuned", "rag")])
    ours = [
        Verdict(q.id, "local", criterion, "tuned", "rag", "tie", 0.5, 0.5, "scripted (paper)")
        for q in QUESTIONS
        for criterion in (*PAPER.criteria, "overall")
    ]
    rows = raw_against_published(ours, found.verdicts)
    assert [(row["criterion"], row["scope"]) for row in rows] == [
        (c, s) for c in PAPER.criteria for s in ("local", "all")
    ]
    assert {(row["rate"], row["published"], row["difference"], row["n"]) for row in rows} == {(0.5, 1.0, 0.5, 3)}


def test_a_verdict_for_nobody_is_no_win_as_published(model_of):
    found = judge_as_published(model_of(lambda call: reply(*["none"] * 4)), QUESTIONS, ANSWERS, [("tuned", "rag")])
    ours = [Verdict(q.id, "local", "insight", "tuned", "rag", "tie", 0.5, 0.5, "m") for q in QUESTIONS]
    assert {row["published"] for row in raw_against_published(ours, found.verdicts)} == {0.0}
