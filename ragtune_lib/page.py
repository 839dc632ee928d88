"""report.html: one page that works offline, made from the artifacts of a run folder and nothing else.

The page is a frame (this module) around sections (`page_parts`). A section whose artifact is missing says which
notebook writes it, so a half-finished run still gives a readable page. All text from documents and models is escaped.
"""

from __future__ import annotations

import html
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ragtune_lib import page_parts as parts
from ragtune_lib.stages import writer_of

STYLE = """
:root { color-scheme: light; }
* { box-sizing: border-box; }
body { font: 16px/1.6 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; color: #1b1f24; background: #fff;
  margin: 0 auto; max-width: 1000px; padding: 2rem 1.5rem 4rem; }
h1 { font-size: 2rem; line-height: 1.2; margin: 0 0 .3rem; }
h2 { font-size: 1.4rem; margin: 3rem 0 .4rem; padding-top: .6rem; border-top: 1px solid #d5dae0; }
h3 { font-size: 1.05rem; margin: 1.6rem 0 .3rem; }
p, li { max-width: 75ch; }
a { color: #0b57a4; }
.lead { color: #47505b; margin: 0 0 .8rem; }
.verdict { background: #f2f6fb; border-left: 5px solid #0072b2; border-radius: 4px; padding: .8rem 1.2rem;
  margin: 1rem 0; }
.verdict p { font-size: 1.15rem; margin: .3rem 0; }
.missing { background: #fff6e5; border-left: 5px solid #b26a00; border-radius: 4px; padding: .6rem 1rem; }
nav ol { columns: 3 15rem; padding-left: 1.3rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: .92rem; margin: .6rem 0 1.2rem; }
caption { text-align: left; color: #47505b; padding-bottom: .3rem; }
th, td { text-align: left; vertical-align: top; padding: .35rem .6rem; border-bottom: 1px solid #e3e7ec;
  overflow-wrap: anywhere; }
thead th { border-bottom: 2px solid #aab3bd; overflow-wrap: normal; }
td.number { text-align: right; font-variant-numeric: tabular-nums; }
iframe { width: 100%; height: 640px; border: 1px solid #d5dae0; border-radius: 6px; }
details { margin: .6rem 0; } summary { cursor: pointer; color: #0b57a4; }
pre { background: #f6f8fa; padding: .7rem 1rem; overflow-x: auto; border-radius: 6px; font-size: .85rem; }
.pair-card { margin: 0 0 1rem; }
@media print { body { max-width: none; padding: 0; } nav, iframe { display: none; } h2 { break-after: avoid; }
  .pair-card, tr, .plotly-graph-div { break-inside: avoid; } }
"""


@dataclass(frozen=True, slots=True)
class Section:
    """One part of the page: what it is called, what it tells, and the function that fills it from the run folder."""

    anchor: str
    title: str
    lead: str
    build: Callable[[Path], str]


SECTIONS = (
    Section("verdict", "The verdict", "What this run shows, in words made from the figures below.", parts.verdict),
    Section(
        "win-rates",
        "Win rates",
        "Each held-out question is a match between two systems; 0.5 means that neither is better. The bars are "
        "intervals over the questions: where one crosses 0.5, this run does not show a difference.",
        parts.win_rates,
    ),
    Section(
        "scores",
        "Scores",
        "How good each system is by itself. Fact recall is the share of the facts of the reference answer that the "
        "answer states.",
        parts.scores,
    ),
    Section(
        "answers",
        "What the systems answered",
        "A question that the tuned model won, one that it lost and one tie, each the first of its kind in the file.",
        parts.answers,
    ),
    Section(
        "graph",
        "The entity graph",
        "What the documents name, joined where a sentence or a model connects both. Colour is the community, size "
        "the number of neighbours; point at a node for its sentences.",
        parts.graph,
    ),
    Section(
        "pairs",
        "The synthetic pairs",
        "What the model was trained on: questions written from the documents, with the reasoning that recalls the "
        "evidence before it answers. The held-out questions had no part in it.",
        parts.pairs,
    ),
    Section(
        "training", "Fine-tuning", "The loss of the LoRA training, taken on the answer's tokens alone.", parts.training
    ),
    Section(
        "opponents",
        "The opponents' settings",
        "VanillaRAG was given its best retriever, chunk size and number of chunks, chosen on validation questions and "
        "never on the held-out ones.",
        parts.opponents,
    ),
    Section("cost", "Time and memory", "What each stage took and what went in and out of it.", parts.cost),
    Section(
        "problems",
        "Problems",
        "What a stage could not turn into output; items in = items out + problems.",
        parts.problems,
    ),
    Section("provenance", "Provenance", "What was run, on what, with which versions.", parts.provenance),
    Section("limits", "How to read it", "And what it does not show.", parts.limits),
)


def report_page(folder: Path) -> str:
    """The whole report of a run as one HTML page without any outside reference.

    Args:
        folder: The run folder; its name is the title.

    Returns:
        The page, about 5 MB, most of it plotly.js, which is inlined once.
    """
    from plotly.offline import get_plotlyjs

    links = "".join(f'<li><a href="#{section.anchor}">{section.title}</a></li>' for section in SECTIONS)
    name = html.escape(folder.name)
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>ragtune report: {name}</title>\n<style>{STYLE}</style>\n"
        f"<script>{get_plotlyjs()}</script>\n</head>\n"
        f"<body>\n<header><h1>Memory or retrieval? Run “{name}”</h1>\n"
        '<p class="lead">A small language model learnt these documents by heart. Does it answer better from memory '
        "than the same model with the documents before it?</p></header>\n"
        f'<nav aria-label="Contents"><ol>{links}</ol></nav>\n<main>\n'
        + "\n".join(_section(section, folder) for section in SECTIONS)
        + "\n</main>\n</body>\n</html>\n"
    )


def _section(section: Section, folder: Path) -> str:
    try:
        body = section.build(folder)
    except FileNotFoundError as error:
        body = f'<p class="missing">{_missing(folder, Path(error.filename or str(error)))}</p>'
    return (
        f'<section id="{section.anchor}"><h2>{html.escape(section.title)}</h2>\n'
        f'<p class="lead">{html.escape(section.lead)}</p>\n{body}\n</section>'
    )


def _missing(folder: Path, path: Path) -> str:
    file = path.relative_to(folder).as_posix() if path.is_relative_to(folder) else path.name
    notebook = writer_of(file)
    by = f": notebook {notebook} writes it" if notebook else ""
    return html.escape(f"Not there yet: {file} is missing{by}.")
