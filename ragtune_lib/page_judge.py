"""What report.html says about a judge model: how it judged, and how far to trust it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ragtune_lib.page_html import details, figure, table

RATES = ("system", "baseline", "criterion", "scope", "judge", "n", "invalid", "rate", "low", "high", "p", "p_holm")
AGREEMENT = ("judge", "other", "n", "agree", "kappa", "low", "high")
CLAIMS = ("system", "scope", "metric", "n", "value", "low", "high")
FLAWS = ("system", "baseline", "criterion", "scope", "judge", "n", "rate", "published_n", "published", "difference")


def judge_model(folder: Path, system: str) -> str:
    """Charts and tables of `judge_statistics.json`; "" where no model and no person judged anything.

    Args:
        folder: of the run.
        system: whose win rates are drawn.
    """
    file = folder / "judge_statistics.json"
    found: Mapping[str, Sequence[Mapping[str, Any]]] = json.loads(file.read_text("utf-8")) if file.is_file() else {}
    parts = []
    if found.get("positions"):
        from ragtune_lib.plots_judge import plot_bradley_terry, plot_judge_rates, plot_positions

        parts += [
            "<h3>The judge model: length, place, ranking</h3>",
            figure(plot_judge_rates(found["length_controlled"], found["published"], system)),
            figure(plot_positions(found["positions"])),
            figure(plot_bradley_terry(found["bradley_terry"])),
            details(
                "Mean win rates with tests",
                _rows(RATES, found["mean_win_rates"], "p by Wilcoxon's signed-rank test; p_holm is Holm's correction."),
            ),
        ]
    if found.get("flaws"):
        caption = "The published judge: the tuned model always first, no ties, a lenient reader. No result, a warning."
        parts.append(details("What the published judge would have said", _rows(FLAWS, found["flaws"], caption)))
    if found.get("claims"):
        from ragtune_lib.plots_judge import plot_claims

        caption = "Claims per answer as the judge model lists them, and groups of unlike wording; they may be false."
        parts += [
            "<h3>How much the answers say</h3>",
            figure(plot_claims(found["claims"])),
            details("Claims by kind of question", _rows(CLAIMS, found["claims"], caption)),
        ]
    if found.get("agreement"):
        caption = "Cohen's kappa: 1 is full agreement, 0 what chance gives. Trust a judge that agrees with a person."
        parts.append("<h3>Do the judges agree?</h3>" + _rows(AGREEMENT, found["agreement"], caption))
    return "".join(parts)


def _rows(head: Sequence[str], rows: Sequence[Mapping[str, Any]], caption: str) -> str:
    cells = [["" if row[name] is None else row[name] for name in head] for row in rows]
    return table([name.replace("_", " ") for name in head], cells, caption)
