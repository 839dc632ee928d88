"""How good the pairs are that nobody looked at, and whether people agree: the drawer around `curation.second_pass`.

Importing this module loads ipywidgets, since the drawer is made of widgets.
"""

from __future__ import annotations

import html
from collections.abc import Callable, Sequence
from itertools import combinations

import ipywidgets as widgets

from ragtune_lib.curate import Curation
from ragtune_lib.curation.drawers import Run, button
from ragtune_lib.curation.events import DECIDING
from ragtune_lib.curation.second_pass import (
    Agreement,
    ErrorRate,
    agreement,
    disagreements,
    error_rate,
    quality_sample,
)


class Quality(widgets.VBox):
    """A random sample with the error rate that it shows, the agreement of people, and what is left to settle.

    Args:
        curation: the review.
        walk: makes a list of ids the panel's list; with True as second argument decisions settle a disagreement.
        run: how to do a thing whose error the panel shall show.
    """

    def __init__(self, curation: Curation, walk: Callable[[Sequence[str], bool], None], run: Run):
        super().__init__()
        self.curation, self.walk = curation, walk
        self.drawn: list[str] = []
        self.sample = button("Go through a random sample", self._sample, run, "pairs that nobody decided about yet")
        self.compare = button("Compare people", self._compare_people, run, "agreement on the pairs that two decided")
        self.settle = button("Settle disagreements", self._settle, run, "pairs that people decided differently")
        self.rate, self.people = widgets.HTML(), widgets.HTML()
        row = widgets.HBox([self.sample, self.compare, self.settle], layout=widgets.Layout(flex_flow="row wrap"))
        self.children = [row, self.rate, self.people]

    def refresh(self) -> None:
        """Bring the estimate up to date."""
        if self.drawn:
            self.rate.value = f"<p>{html.escape(rate_line(error_rate(self.curation, self.drawn)))}</p>"

    def _sample(self) -> None:
        self.drawn = quality_sample(self.curation)
        self.walk(self.drawn, False)

    def _compare_people(self) -> None:
        people = sorted({event.reviewer for event in self.curation.decisions if event.action in DECIDING})
        tables = [agreement_table(agreement(self.curation, *two)) for two in combinations(people, 2)]
        self.people.value = "".join(tables) or "<p>Only one person has decided so far.</p>"

    def _settle(self) -> None:
        if not self.curation.reviewer:
            raise ValueError("who settles needs a name: set the parameter reviewer")
        self.walk([found.pair_id for found in disagreements(self.curation)], True)


def rate_line(rate: ErrorRate) -> str:
    """The estimate in words: the share with its interval, from how many, about how many."""
    seen = f"{rate.n} of {rate.sample} pairs of the random sample are decided"
    if rate.rate is None:
        return f"{seen}. {rate.unseen} pairs are used without anybody having decided about them."
    return (
        f"{seen}, {rate.errors} of these dropped or edited: {rate.rate:.1%} errors [{rate.low:.1%}, {rate.high:.1%}] "
        f"(95 %) among the {rate.unseen} pairs that are used without anybody having decided about them."
    )


def agreement_table(found: Agreement) -> str:
    """Escaped HTML: how far two people agree, and who said what."""
    first, second = (html.escape(name or "unnamed") for name in (found.first, found.second))
    if found.agree is None:
        return f"<p>{first} and {second} have decided about no pair in common.</p>"
    kappa = "undefined, both said the same throughout" if found.kappa is None else f"{found.kappa:.2f}"
    rows = "".join(
        f'<tr><th scope="row">{first}: {one}</th>'
        f"{''.join(f'<td>{found.table[one, other]}</td>' for other in DECIDING)}</tr>"
        for one in DECIDING
    )
    head = "".join(f'<th scope="col">{second}: {other}</th>' for other in DECIDING)
    return (
        f"<p>{first} and {second}: agree on {found.agree:.0%} of {found.n} pairs, Cohen's kappa {kappa}.</p>"
        f"<table><tr><td></td>{head}</tr>{rows}</table>"
    )
