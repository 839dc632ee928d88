"""report.html: self-contained, escaped, complete, and honest when something is missing or does not hold."""

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise

import pytest

from ragtune_lib.judges.claims import claim_scores
from ragtune_lib.judges.llm_judge import Judged, verdicts
from ragtune_lib.judges.summary import summarize
from ragtune_lib.page import SECTIONS, report_page
from ragtune_lib.page_parts import headline
from ragtune_lib.records import (
    Answer,
    Chunk,
    ClaimList,
    Community,
    Document,
    Entity,
    Flag,
    JudgeCall,
    Problem,
    QAPair,
    Question,
    Relationship,
    Sentence,
    TrainLog,
    Verdict,
    WinRate,
)
from ragtune_lib.store import read_records, write_json, write_records, write_text

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'"
SYSTEMS = ("base", "vanilla_rag", "long_context", "rag_tuned", "rag_tuned_rag")
RATE = WinRate("rag_tuned", "vanilla_rag", "local", "overall", "reference", 0.8, 0.7, 0.9, 60, 4, 0)


@pytest.fixture
def folder(outputs):
    """A run folder with every artifact, and hostile text in every field that a document or a model fills."""
    run = outputs / "small"
    for name in ("problems", "metrics"):
        (run / name).mkdir(parents=True)
    text = f"Ilse came. {HOSTILE}"
    said = (Sentence(text, "c1", "2025-01-01"),)
    pair = QAPair("p1", "local", "entity", text, text, text, ("c1",), HOSTILE, "f1")
    artifacts = {
        "documents.jsonl": [Document("d1", HOSTILE, HOSTILE, text, "2025-01-01")],
        "chunks.jsonl": [Chunk("c1", "d1", 0, len(text), text, "2025-01-01")],
        "entities.jsonl": [Entity("e1", HOSTILE, "name", text, said, ("c1",))],
        "relationships.jsonl": [Relationship("r1", "e1", "e2", 1.0, text, said, ("c1",))],
        "communities.jsonl": [Community("g1", 0, "", ("e1",), HOSTILE, text, said)],
        "pairs.jsonl": [pair, replace(pair, id="p2", kind="change", scope="global", fact_id="f2")],
        "kept.jsonl": [pair],
        "flags.jsonl": [Flag("p2", "quote", HOSTILE, True)],
        "train_log.jsonl": [TrainLog(step, 2, 3.0 / step, 100 * step, 0.05, 1.0 * step) for step in (1, 2)],
        "questions.jsonl": [Question("q1", "local", text, text, (("Ilse",),), ("d1",))],
        "answers.jsonl": [Answer("q1", system, f"{system}: {text}", ("c1",), 10, 5, 0.1) for system in SYSTEMS],
        "verdicts.jsonl": [
            Verdict("q1", "local", "overall", "rag_tuned", "vanilla_rag", "a", 1.0, 0.0, "reference"),
        ],
        "win_rates.jsonl": [RATE, replace(RATE, scope="global", rate=0.5, low=0.3, high=0.7, n=30)],
        "problems/01_documents.jsonl": [Problem("01_documents", HOSTILE, HOSTILE)],
    }
    for name, records in artifacts.items():
        write_records(run / name, records)
    rows = [
        {"system": system, "scope": "local", "metric": "fact_recall", "value": 0.5, "low": 0.4, "high": 0.6, "n": 60}
        for system in SYSTEMS
    ]
    write_json(run / "scores.json", rows)
    write_json(run / "metrics" / "04_curate.json", {"in": 2, "out": 2, "problems": 0, "seen": 1})
    grid = [{"retriever": "bm25", "chunk_tokens": 100, "top_k": k, "value": 0.4, "n": 20} for k in (1, 3)]
    write_json(run / "retrieval.json", {"grid": grid, "long_context": {"window": 8192, "fits": True}})
    write_json(run / "train_config.json", {"base_model": HOSTILE, "rank": 32})
    write_text(run / "graph.html", f"<html><script>var vis = 1;</script><body>{HOSTILE}</body></html>")
    stages = {"01_documents": {"status": "done", "seconds": 2.5, "peak_mb": 300, "counts": {"in": 3, "out": 2}}}
    parameters = {"01_documents": {"run": "small", "documents": HOSTILE}}
    write_json(run / "run.json", {"run": "small", "questions": "q.jsonl", "stages": stages, "parameters": parameters})
    return run


class Elements(HTMLParser):
    """Every start tag with its attributes; the content of scripts is not parsed."""

    def __init__(self, text):
        super().__init__()
        self.found = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        """Called by the parser."""
        self.found.append((tag, dict(attrs)))


def without_plotly(page):
    from plotly.offline import get_plotlyjs

    assert page.count(get_plotlyjs()) == 1
    return page.replace(get_plotlyjs(), "")


def test_the_page_holds_all_sections_and_nothing_from_outside(folder):
    page = without_plotly(report_page(folder))
    assert 'class="missing"' not in page
    elements = Elements(page).found
    ids = [attributes["id"] for tag, attributes in elements if tag == "section"]
    assert ids == [section.anchor for section in SECTIONS]
    links = [attributes["href"] for tag, attributes in elements if tag == "a"]
    assert links == [f"#{anchor}" for anchor in ids]
    assert not [attributes for _, attributes in elements if "src" in attributes]
    assert not [tag for tag, _ in elements if tag == "link"]
    frames = [attributes for tag, attributes in elements if tag == "iframe"]
    assert [frame["sandbox"] for frame in frames] == ["allow-scripts"]
    assert "var vis = 1" in frames[0]["srcdoc"]


def test_text_of_documents_and_models_is_escaped_everywhere(folder):
    page = without_plotly(report_page(folder))
    elements = Elements(page).found
    assert not [tag for tag, attributes in elements if tag == "img" or "onerror" in attributes]
    scripts = re.findall(r"<script[^>]*>(.*?)</script>", page, flags=re.DOTALL)
    assert not [script for script in scripts if script.startswith("alert")]


def test_headings_step_down_one_level_at_a_time_and_tables_name_their_cells(folder):
    elements = Elements(without_plotly(report_page(folder))).found
    levels = [int(tag[1]) for tag, _ in elements if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert all(after - before <= 1 for before, after in pairwise(levels)), levels
    assert all(attributes.get("scope") in ("col", "row") for tag, attributes in elements if tag == "th")
    assert ("html", {"lang": "en"}) in elements


def test_the_page_says_how_many_pairs_notebook_04_counted_as_seen(folder):
    assert "A person has seen 1 of 2 pairs" in report_page(folder)


def test_every_system_s_answer_to_a_shown_question_is_there(folder):
    page = report_page(folder)
    for system in SYSTEMS:
        assert f"<td>{system}: Ilse came." in page


def test_generated_questions_are_named_as_such(folder):
    assert "generated from the same documents" not in report_page(folder)
    state = json.loads((folder / "run.json").read_text())
    write_json(folder / "run.json", state | {"questions": ""})
    assert "generated from the same documents" in report_page(folder)


def test_a_missing_artifact_is_named_with_the_notebook_that_writes_it(folder):
    (folder / "train_log.jsonl").unlink()
    (folder / "retrieval.json").unlink()
    page = report_page(folder)
    assert "train_log.jsonl is missing: notebook 05_finetune writes it" in page
    assert "retrieval.json is missing: notebook 06_answer writes it" in page
    assert page.count('class="missing"') == 2


def test_an_empty_run_folder_still_gives_a_page(outputs):
    folder = outputs / "empty"
    folder.mkdir()
    page = report_page(folder)
    assert "win_rates.jsonl is missing: notebook 07_judge writes it" in page
    assert "None." in page  # no problems


def test_the_same_artifacts_give_the_same_page(folder):
    assert report_page(folder) == report_page(folder)


def test_the_headline_says_what_the_interval_allows():
    won = RATE
    open_ = replace(RATE, scope="global", rate=0.55, low=0.4, high=0.7)
    lost = replace(RATE, scope="global", rate=0.2, low=0.1, high=0.3)
    other = replace(RATE, baseline="long_context", rate=0.1, low=0.0, high=0.2)
    assert headline([won, other]) == (
        "From memory alone, the tuned model beats VanillaRAG on local questions "
        "(win rate 0.80, interval 0.70 to 0.90, n = 60)."
    )
    assert "does not show that either is better" in headline([won, open_])
    assert "loses to VanillaRAG on global questions" in headline([lost])
    assert headline([replace(won, n=0), other]).startswith("No question of this run compares")
    assert "beats" not in headline([replace(won, low=0.5)])  # 0.5 itself is no lead


MODEL = "openai:<b>gpt</b> (paper)"


def test_two_judges_stand_beside_each_other_and_are_never_mixed(folder):
    lost = replace(RATE, judge=MODEL, rate=0.2, low=0.1, high=0.3)
    reference = read_records(folder / "win_rates.jsonl", WinRate)
    write_records(folder / "win_rates.jsonl", [*reference, lost])
    assert "beats VanillaRAG on local questions (win rate 0.80" in headline([*reference, lost])
    assert "loses to VanillaRAG on local questions (win rate 0.20" in headline([*reference, lost], MODEL)
    verdict = Verdict("q1", "local", "overall", "rag_tuned", "vanilla_rag", "b", 0.0, 1.0, MODEL)
    write_records(folder / "verdicts.jsonl", [*read_records(folder / "verdicts.jsonl", Verdict), verdict])
    page = without_plotly(report_page(folder))
    assert page.count('<div class="verdict">') == 2
    assert "It is not an LLM" in page
    escaped = "openai:&lt;b&gt;gpt&lt;/b&gt; (paper)"
    assert f"The tuned model lost to VanillaRAG, says {escaped}." in page
    assert "The tuned model won against VanillaRAG, says reference." in page
    assert "<b>gpt" not in re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL)


def test_a_judge_model_s_statistics_are_shown_where_there_are_any(folder):
    bare = report_page(folder)
    empty = ("mean_win_rates", "positions", "length_controlled", "bradley_terry", "published", "flaws", "agreement")
    write_json(folder / "judge_statistics.json", {name: [] for name in empty})
    assert report_page(folder) == bare
    calls = [
        JudgeCall("q1", "local", "insight", "rag_tuned", "base", order, at, "a", HOSTILE, 2, 3, MODEL)
        for at, order in enumerate(("ab", "ba"))
    ]
    person = [Verdict("q1", "local", "overall", "rag_tuned", "base", "a", 1.0, 0.0, "person")]
    answers = read_records(folder / "answers.jsonl", Answer)
    judged = Judged(tuple(calls), tuple(verdicts(calls)), ())
    published = [replace(judged.verdicts[0], judge="m (as published)", winner="b", value_a=0.0, value_b=1.0)]
    write_json(folder / "judge_statistics.json", summarize(judged, [], answers, published, person, samples=20))
    page = without_plotly(report_page(folder))
    for words in ("length, place, ranking", "Holm", "What the published judge would have said", "Do the judges agree?"):
        assert words in page, words
    assert "How much the answers say" not in page
    assert page.count("plotly-graph-div") == bare.count("plotly-graph-div") + 3
    assert not [tag for tag, attributes in Elements(page).found if tag == "img" or "onerror" in attributes]
    assert "null" not in re.findall(r"<table>.*?</table>", page, flags=re.DOTALL)[-1]


def test_claims_are_drawn_where_a_judge_model_has_listed_any(folder):
    bare = report_page(folder)
    lists = [ClaimList("q1", HOSTILE, ("Ilse sold jam.", "It rained.")), ClaimList("q1", "base", ())]
    rows = claim_scores(read_records(folder / "questions.jsonl", Question), lists, samples=20)
    write_json(folder / "judge_statistics.json", {"claims": rows})
    page = without_plotly(report_page(folder))
    assert "How much the answers say" in page and "claim groups 0.5" in page.replace("_", " ")
    assert page.count("plotly-graph-div") == bare.count("plotly-graph-div") + 1
    assert not [tag for tag, attributes in Elements(page).found if tag == "img" or "onerror" in attributes]
