import math

import pytest

from ragtune_lib.judges.claims import THRESHOLDS, claim_scores
from ragtune_lib.plots_judge import plot_bradley_terry, plot_claims, plot_judge_rates, plot_positions
from ragtune_lib.records import ClaimList, Question

BAD = "<img src=x onerror=alert(1)>"


def controlled(criterion="insight", baseline="vanilla_rag", scope="all", judge="m (paper)", rate=0.8):
    return {
        "system": "rag_tuned", "baseline": baseline, "criterion": criterion, "judge": judge, "scope": scope, "n": 40,
        "rate": rate, "low": rate - 0.2, "high": rate + 0.1, "controlled": 0.6, "controlled_low": 0.5,
        "controlled_high": 0.75, "length_effect": 1.0, "longer": 0.9,
    }  # fmt: skip


def published(criterion="insight", rate=0.95, n=40):
    return {
        "system": "rag_tuned", "baseline": "vanilla_rag", "criterion": criterion, "judge": "m (as published)",
        "scope": "all", "n": n, "invalid": 0, "rate": rate, "low": 0.9, "high": 1.0,
    }  # fmt: skip


def position(criterion="insight", matches=20, judge="m (paper)"):
    value = 0.7 if matches else math.nan
    return {
        "judge": judge, "criterion": criterion, "questions": 20, "matches": matches, "invalid": 3, "consistency": value,
        "consistency_low": value - 0.1, "consistency_high": value + 0.2, "bias": 0.1, "bias_low": -0.05,
        "bias_high": 0.2, "first": 24, "tie": 4, "second": 12,
    }  # fmt: skip


def strength(system, value, judge="m (paper)", criterion="overall", scope="all"):
    return {
        "judge": judge, "criterion": criterion, "scope": scope, "system": system, "n": 80, "strength": value,
        "low": value - 0.5, "high": value + 0.25, "rate": 0.6,
    }  # fmt: skip


def notes(figure):
    return [note.text for note in figure.layout.annotations]


def test_raw_controlled_and_published_rates_stand_side_by_side():
    rows = [controlled(), controlled("richness"), controlled(scope="local"), controlled("insight", "base")]
    figure = plot_judge_rates(rows, [published(), published("richness", n=0)])
    raw, fair, flawed = figure.data
    assert (list(raw.x), list(fair.x), list(flawed.x)) == ([0.8] * 3, [0.6] * 3, [0.95])
    assert list(raw.error_x.array) == pytest.approx([0.1] * 3)
    assert list(raw.error_x.arrayminus) == pytest.approx([0.2] * 3)
    assert list(fair.error_x.array) == pytest.approx([0.15] * 3)
    assert [round(place) for place in flawed.y] == [0]  # published verdicts on base are none: not drawn at its row
    assert list(figure.layout.yaxis.ticktext) == [
        "VanillaRAG · insight ", "VanillaRAG · richness ", "Base, closed book · insight ",
    ]  # fmt: skip
    assert "n=40, longer in 90%" in notes(figure)[0] and "published 0.95" in notes(figure)[0]
    assert "published" not in notes(figure)[1]
    assert figure.layout.shapes[0].x0 == 0.5


def test_without_published_rows_nothing_of_them_is_drawn():
    assert len(plot_judge_rates([controlled()]).data) == 2


def test_several_judges_are_told_apart():
    figure = plot_judge_rates([controlled(), controlled(judge="k (paper)")])
    assert list(figure.layout.yaxis.ticktext) == [
        "VanillaRAG · insight · m (paper) ",
        "VanillaRAG · insight · k (paper) ",
    ]


def test_consistency_and_bias_have_an_axis_each():
    figure = plot_positions([position(), position("richness", 0), position("all")])
    consistency, bias = figure.data
    assert (list(consistency.x), list(consistency.y), list(bias.x), list(bias.y)) == (
        [0.7] * 2,
        [0, 2],
        [0.1] * 2,
        [0, 2],
    )
    assert (consistency.xaxis, bias.xaxis) == ("x", "x2")
    assert list(bias.error_x.arrayminus) == pytest.approx([0.15] * 2)
    assert notes(figure)[1] == "n=0, invalid 3<br>first 24, tie 4, second 12"
    assert figure.layout.xaxis.domain[1] < figure.layout.xaxis2.domain[0]


def test_strengths_are_drawn_for_each_judge_on_one_scale():
    rows = [strength("rag_tuned", 0.5), strength("base", -0.5), strength("base", 0.2, "reference")]
    rows += [strength("base", 9.0, criterion="insight"), strength("base", 9.0, scope="local")]
    figure = plot_bradley_terry(rows)
    assert [(trace.name, list(trace.x)) for trace in figure.data] == [("m (paper)", [0.5, -0.5]), ("reference", [0.2])]
    assert [round(place) for place in figure.data[1].y] == [1]
    assert list(figure.layout.yaxis.ticktext) == ["RAG-tuned (memory only)", "Base, closed book"]
    assert list(figure.data[0].error_x.arrayminus) == pytest.approx([0.5, 0.5])


def test_claims_and_their_groups_stand_beside_each_other_for_each_system():
    lists = [
        ClaimList("q1", "rag_tuned", ("plums cost nine pounds", "plums cost nine euros", "it rained")),
        ClaimList("q2", "rag_tuned", ("it rained",)),
        ClaimList("q1", "base", ()),
    ]
    questions = [Question("q1", "local", "?", "", (), ()), Question("q2", "global", "?", "", (), ())]
    figure = plot_claims(claim_scores(questions, lists))
    assert len(figure.data) == 1 + len(THRESHOLDS)
    claims, loose = figure.data[0], figure.data[1]
    assert (claims.name, list(claims.x), list(claims.y)) == (
        "claims", ["RAG-tuned (memory only)", "Base, closed book"], [2.0, 0.0]
    )  # fmt: skip
    assert (loose.name, list(loose.y)) == ("groups, distance up to 0.5", [1.5, 0.0])
    assert claims.text[0] == "2.0<br>n=2" and list(claims.error_y.arrayminus) == [1.0, 0.0]


@pytest.mark.parametrize("plot", [plot_judge_rates, plot_positions, plot_bradley_terry, plot_claims])
def test_nothing_to_draw_is_an_empty_figure(plot):
    figure = plot([])
    assert figure.layout.title.text and not figure.data


def test_markup_in_names_is_escaped():
    figures = [
        plot_judge_rates([controlled(BAD, BAD, judge=BAD), controlled()]),
        plot_positions([position(BAD, judge=BAD), position()]),
        plot_bradley_terry([strength(BAD, 0.1, BAD)]),
        plot_bradley_terry([strength("x", 0.1, BAD, BAD)], BAD),
    ]
    assert not [figure for figure in figures if "<img" in str(figure.to_dict())]
