import math
from dataclasses import replace

import pytest

from ragtune_lib import plots
from ragtune_lib.records import QAPair, TrainLog, WinRate


def rate(baseline="vanilla_rag", scope="local", value=0.7, n=10, ties=2, invalid=1, criterion="overall"):
    return WinRate(
        "rag_tuned", baseline, scope, criterion, "reference", value, value - 0.2, value + 0.1, n, ties, invalid
    )


RATES = [
    rate(),
    rate(scope="global", value=0.4, n=5, ties=0, invalid=0),
    rate("base", "all", 0.9),
    rate(criterion="facts"),
]
EMPTY = WinRate("rag_tuned", "base", "local", "overall", "reference", math.nan, math.nan, math.nan, 0, 0, 3)


def notes(figure):
    return [note.text for note in figure.layout.annotations]


def test_the_forest_shows_rates_intervals_counts_and_the_judge():
    figure = plots.plot_win_rates(RATES)
    local = next(trace for trace in figure.data if trace.name == "local")
    assert (list(local.x), list(local.y)) == ([0.7], [0])
    assert list(local.error_x.array) == pytest.approx([0.1])
    assert list(local.error_x.arrayminus) == pytest.approx([0.2])
    assert sum(len(trace.x) for trace in figure.data) == 3  # the other criterion is not drawn
    assert "n=10, ties 2, invalid 1" in notes(figure)[0]
    assert figure.layout.yaxis.ticktext[0].startswith("VanillaRAG")
    assert "not an LLM's opinion" in figure.layout.title.subtitle.text
    assert figure.layout.shapes[0].x0 == 0.5


def test_a_pair_without_verdicts_has_a_label_and_no_point():
    figure = plots.plot_win_rates([EMPTY])
    assert len(figure.data) == 0
    assert notes(figure) == ["nothing to judge, n=0, invalid 3"]


def test_shares_add_up_to_all_questions():
    figure = plots.plot_verdict_shares(RATES)
    by_name = {trace.name: trace for trace in figure.data}
    assert [by_name[name].text[0] for name in ("won", "tied", "lost")] == ["6", "2", "2"]
    assert [sum(shares) for shares in zip(*(trace.x for trace in figure.data), strict=True)] == pytest.approx([1, 1, 1])
    assert [trace.x[0] for trace in plots.plot_verdict_shares([EMPTY]).data] == [0, 0, 0]


def test_the_matrix_mirrors_each_pair_and_leaves_the_diagonal_blank():
    heat = plots.plot_win_matrix([rate(scope="all", value=0.7), rate("base", "all", 0.9)]).data[0]
    names = list(heat.y)
    tuned, vanilla, base = (
        names.index(name) for name in ("RAG-tuned (memory only)", "VanillaRAG", "Base, closed book")
    )
    assert (heat.text[tuned][vanilla], heat.text[vanilla][tuned]) == ("0.70", "0.30")
    assert heat.text[tuned][tuned] == heat.text[vanilla][base] == ""


def test_several_judges_have_rows_of_their_own_and_a_matrix_shows_the_first():
    both = [rate(scope="all", value=0.7), replace(rate(scope="all", value=0.2), judge="m (paper)")]
    for figure in (plots.plot_win_rates(both), plots.plot_verdict_shares(both)):
        assert list(figure.layout.yaxis.ticktext) == ["VanillaRAG · all · reference ", "VanillaRAG · all · m (paper) "]
        assert figure.layout.title.subtitle.text.count("judge") == 2
    figure = plots.plot_win_matrix(both)
    assert {text for row in figure.data[0].text for text in row} == {"", "0.70", "0.30"}
    assert "m (paper)" not in figure.layout.title.subtitle.text


def test_scores_are_bars_by_scope_in_the_order_of_the_systems():
    rows = [
        {"system": system, "scope": "local", "metric": metric, "value": value, "n": 60, "low": 0.1, "high": 0.95}
        for system, metric, value in (("rag_tuned", "f1", 0.8), ("base", "f1", 0.2), ("base", "em", 0.0))
    ]
    figure = plots.plot_scores(rows, "f1")
    assert list(figure.data[0].x) == ["RAG-tuned (memory only)", "Base, closed book"]
    assert list(figure.data[0].y) == [0.8, 0.2]
    assert figure.data[0].text[0] == "0.80<br>n=60"


def test_the_loss_is_drawn_in_order_of_steps_with_tokens():
    log = [TrainLog(step, 4, 3.0 - step, 100 * step, 0.05, 2.0 * step) for step in (2, 1)]
    figure = plots.plot_loss(log)
    assert (list(figure.data[0].x), list(figure.data[0].y)) == ([1, 2], [2.0, 1.0])
    assert figure.layout.title.subtitle.text == "2 of 4 steps, 200 tokens, 5.0% padding, 50 tokens per second"


def test_pairs_are_counted_by_scope_and_kind():
    pairs = [QAPair(str(n), "local", "entity", "q", "", "a", (), "template", "f") for n in range(5)]
    pairs += [QAPair("g", "global", "change", "q", "", "a", (), "template", "f")]
    figure = plots.plot_pairs(pairs, pairs[:3])
    assert [list(trace.x) for trace in figure.data] == [[3, 0], [2, 1]]
    assert list(figure.layout.yaxis.ticktext) == ["local · entity", "global · change"]
    assert figure.layout.title.subtitle.text == "6 written, 3 used for training"


def test_the_best_retrieval_setting_is_marked():
    rows = [
        {"retriever": kind, "chunk_tokens": 200, "top_k": k, "value": value, "n": 30}
        for kind, k, value in (("bm25", 3, 0.6), ("bm25", 1, 0.5), ("hybrid", 1, 0.8), ("hybrid", 3, 0.7))
    ]
    figure = plots.plot_retrieval(rows)
    assert list(figure.data[0].x) == [1, 3]
    assert (figure.data[-1].x[0], figure.data[-1].y[0]) == (1, 0.8)
    assert "hybrid, chunks of 200 tokens, top 1: 0.80 (n=30)" in figure.layout.title.subtitle.text


@pytest.mark.parametrize(
    "figure",
    [
        lambda: plots.plot_win_rates([]),
        lambda: plots.plot_verdict_shares([]),
        lambda: plots.plot_win_matrix([]),
        lambda: plots.plot_scores([], "f1"),
        lambda: plots.plot_loss([]),
        lambda: plots.plot_pairs([], []),
        lambda: plots.plot_retrieval([]),
    ],
)
def test_nothing_to_draw_is_an_empty_figure(figure):
    assert figure().layout.title.text


def test_markup_in_names_is_escaped():
    bad = "<img src=x onerror=alert(1)>"
    figure = plots.plot_win_rates([WinRate("rag_tuned", bad, "local", "overall", bad, 0.5, 0.4, 0.6, 4, 0, 0)])
    assert "<img" not in figure.layout.yaxis.ticktext[0] + figure.layout.title.subtitle.text
