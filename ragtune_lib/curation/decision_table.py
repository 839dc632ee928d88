"""How a review stands, in words and as escaped HTML that needs no widget: for the panel, and where no kernel runs."""

from __future__ import annotations

import html
from collections import Counter
from collections.abc import Iterable, Sequence

from ragtune_lib.curate import Curation
from ragtune_lib.curation.events import DECIDING

COLOURS = {"keep": "#1b6e3c", "edit": "#0b5c9e", "drop": "#b00020"}
OPEN_STATES = {"flag": "flagged by a person", "skip": "skipped", "stale": "changed since their decision"}


def line_of(text: str, length: int = 90) -> str:
    """A text on one line, cut to `length` characters."""
    text = " ".join(text.split())
    return text if len(text) <= length else f"{text[: length - 1]}\u2026"


def summary_line(curation: Curation) -> str:
    """One line of plain text: how far the review is."""
    counts = curation.counts()
    decided = ", ".join(f"{counts[name]} {name}" for name in COLOURS)
    line = f"{counts['decided']} of {counts['pairs']} decided ({decided}); {counts['blocked']} blocked by checks"
    line += "".join(f"; {counts[name]} {told}" for name, told in OPEN_STATES.items() if counts[name])
    unread = len(curation.problems)
    return f"{line}; {unread} lines of the decisions files not used" if unread else line


def pace_line(curation: Curation) -> str:
    """Steps per minute, and the time that the rest takes at that; "" before it is known."""
    rate = curation.rate()
    if not rate:
        return ""
    counts = curation.counts()
    minutes = round((counts["pairs"] - counts["decided"]) / rate)
    left = f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min"
    return f"{rate:.1f} a minute, {left} for the rest"


def progress(curation: Curation) -> str:
    """A bar of what was kept, edited and dropped; the numbers are in its tooltip and beside it."""
    counts = curation.counts()
    parts = "".join(
        f'<i style="width:{100 * counts[name] / max(1, counts["pairs"]):.2f}%;background:{colour}"></i>'
        for name, colour in COLOURS.items()
    )
    told = ", ".join(f"{counts[name]} {name}" for name in COLOURS)
    return f'<div class="rt-bar" role="img" aria-label="{told} of {counts["pairs"]}" title="{told}">{parts}</div>'


def standing_line(curation: Curation, pair_id: str, unsaved: bool = False) -> str:
    """Escaped HTML: how one pair stands, its decision with its reason, notes, and whether a wording is unsaved."""
    decision = curation.decision(pair_id)
    who = f" by {decision.reviewer}" if decision and decision.reviewer else ""
    why = f": {decision.note}" if decision and decision.note else ""
    told = [f"<b>{curation.state(pair_id)}</b>{html.escape(who + why)}"]
    said = curation.events.words(pair_id)
    if len(said) > 1:
        told.append(html.escape(", ".join(f"{name or 'unnamed'}: {entry[3].action}" for name, entry in said.items())))
    notes = (entry[3].note for entry in curation.events.about.get(pair_id, ()) if entry[3].action == "note")
    told += [f"note: {html.escape(line_of(note, 300))}" for note in notes]
    if unsaved:
        told.append("<b>a wording is not saved yet</b> (Keep or Ctrl+S saves it)")
    return f'<div class="rt-state">{"; ".join(told)}</div>'


def decision_table(curation: Curation, rows: int = 20) -> str:
    """What people decided with which reasons, and the last pairs that a person saw; without any, the first pairs.

    Args:
        curation: the review.
        rows: pairs shown at most.
    """
    decided = [event for event in curation.history() if curation.decision(event.pair_id) is event]
    reasons = Counter((event.action, event.note) for event in decided if event.note and event.action != "edit")
    parts = []
    if reasons:
        cells = [(action, why, str(count)) for (action, why), count in reasons.most_common(rows)]
        parts.append(_table("Reasons", ("decision", "reason", "pairs"), cells))
    seen = [event.pair_id for event in decided if event.action in DECIDING]
    title = f"What a person saw last, {min(rows, len(seen))} of {len(seen)} pairs"
    title = title if seen else "The first pairs; nobody decided yet"
    shown = (seen or list(curation.pairs))[:rows]
    head = ("state", "by", "reason", "scope", "question", "answer", "flags")
    return "".join([*parts, _table(title, head, [_row(curation, pair_id) for pair_id in shown])])


def _row(curation: Curation, pair_id: str) -> Sequence[str]:
    pair, decision = curation.pair(pair_id), curation.decision(pair_id)
    who, why = (decision.reviewer, decision.note) if decision else ("", "")
    checks = ", ".join(flag.check for flag in curation.flags.get(pair_id, ()))
    return curation.state(pair_id), who, why, pair.scope, pair.question, pair.answer, checks


def _table(title: str, head: Iterable[str], rows: Iterable[Sequence[str]]) -> str:
    top = "".join(f'<th scope="col">{html.escape(name)}</th>' for name in head)
    body = "".join(f"<tr>{''.join(f'<td>{html.escape(text)}</td>' for text in row)}</tr>" for row in rows)
    return f"<table><caption>{html.escape(title)}</caption><tr>{top}</tr>{body}</table>"
