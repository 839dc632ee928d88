"""One pair beside its source as HTML: what backs it, what does not, what checks found, what a person changed.

Every text is escaped. Colours are fixed, dark on light, so that the card reads the same in a dark theme; each has a
contrast of at least 4.5 to 1 on its ground (WCAG AA), and nothing is told by colour alone.
"""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence

from ragtune_lib.curation.marks import Sources, Span, doubtful, pieces, supporting, word_diff
from ragtune_lib.curation.neighbourhood import Neighbourhoods
from ragtune_lib.records import Flag, QAPair
from ragtune_lib.text import spoken_date

FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif"
FIELDS = ("question", "reasoning", "answer")
MEANING = {  # tooltip of each mark
    "unbacked": "no sentence of the source backs this",
    "unknown": "this number or name is not in the source",
    "recalled": "the pair repeats this sentence",
    "said": "a word of the answer",
    "asked": "a word of the question",
}
STYLE = f"""<style>
.rt-card{{font:14px/1.5 {FONT};color:#1c1e21;background:#fff;overflow-wrap:anywhere;color-scheme:light}}
.rt-card h4{{margin:10px 0 1px;font-size:12px;font-weight:600;color:#56606b}}
.rt-card p{{margin:0;white-space:pre-wrap;unicode-bidi:plaintext}}
.rt-card .question{{font-size:17px;line-height:1.35;font-weight:600}}
.rt-card .answer{{font-weight:600}}
.rt-card .tags{{margin:0 0 6px;color:#56606b;font-size:12px}}
.rt-card .tag{{display:inline-block;background:#eef1f4;color:#1c1e21;border-radius:10px;padding:0 9px;
margin:0 4px 4px 0}}
.rt-card .flag{{background:#fff3cd;border-left:4px solid #8a6d00;padding:1px 9px;margin:0 0 4px}}
.rt-card .blocks{{background:#fbe3e4;border-left-color:#b00020}}
.rt-card blockquote{{margin:6px 0;padding:4px 12px;border-left:3px solid #c3c9d0;white-space:pre-wrap;
unicode-bidi:plaintext}}
.rt-card blockquote b{{display:block;font-size:12px;color:#56606b}}
.rt-card mark{{color:#1c1e21;background:none;padding:0}}
.rt-card mark.recalled{{background:#fff6d6}}
.rt-card mark.said{{background:#ffdf80;font-weight:600;border-radius:2px}}
.rt-card mark.asked{{text-decoration:underline dotted #56606b;text-underline-offset:3px}}
.rt-card mark.unbacked{{background:#fdecec;text-decoration:underline wavy #b00020;text-underline-offset:3px}}
.rt-card mark.unknown{{outline:2px solid #b00020;border-radius:2px;font-weight:700}}
.rt-card ins{{background:#d8f3dc;color:#0b3d17;text-decoration:underline;font-weight:600}}
.rt-card del{{background:#fbe3e4;color:#7a0016;text-decoration:line-through}}
.rt-card .legend{{font-size:12px;color:#56606b;margin-top:8px}}
.rt-card svg.near{{display:block;width:100%;max-width:460px;height:auto;margin-top:4px}}
.rt-card svg.near text{{font:12px {FONT};fill:#1c1e21;paint-order:stroke;stroke:#fff;stroke-width:3px}}
</style>"""


def pair_card(
    pair: QAPair,
    sources: Sources,
    flags: Sequence[Flag] = (),
    original: QAPair | None = None,
    scores: Mapping[str, float] | None = None,
    around: Neighbourhoods | None = None,
) -> str:
    """The whole card: the pair on the left, its source on the right, one below the other where there is no room.

    Args:
        pair: the wording to show.
        sources: the chunks of the run.
        flags: findings; those on other pairs are not shown.
        original: the pair before a person's edit; where it differs, the difference is shown word by word.
        scores: what a judge gave, by criterion.
        around: the graph; where it is given, the neighbourhood of the pair's entity is drawn.
    """
    left, right = wording(pair, sources, flags, original, scores), evidence(pair, sources, around)
    column = "flex:1 1 320px;min-width:0"
    return (
        f'<div style="display:flex;flex-wrap:wrap;gap:4px 28px;padding:10px 0;border-bottom:1px solid #d5d9de">'
        f'<div style="{column}">{left}</div><div style="{column}">{right}</div></div>'
    )


def wording(
    pair: QAPair,
    sources: Sources,
    flags: Sequence[Flag] = (),
    original: QAPair | None = None,
    scores: Mapping[str, float] | None = None,
) -> str:
    """The left half of the card; arguments as for `pair_card`."""
    marks = {name: doubtful(getattr(pair, name), pair, sources) for name in ("reasoning", "answer")}
    parts = [f'<p class="question" dir="auto">{_changed("question", pair, original, ())}</p>']
    parts += [_flag(flag) for flag in flags if flag.pair_id == pair.id]
    if original is None and pair.reasoning and pair.reasoning == pair.answer:
        parts.append("<h4>Answer, and word for word the reasoning before it</h4>")
    elif pair.reasoning or (original and original.reasoning):
        shown = _changed("reasoning", pair, original, marks["reasoning"])
        parts.append(f'<h4>Reasoning</h4><p dir="auto">{shown}</p><h4>Answer</h4>')
    else:
        parts.append("<h4>Answer</h4>")
    parts.append(f'<p class="answer" dir="auto">{_changed("answer", pair, original, marks["answer"])}</p>')
    if found := sorted({kind for spans in marks.values() for *_, kind in spans}):
        keys = "; ".join(f'<mark class="{kind}">marked so</mark>: {MEANING[kind]}' for kind in found)
        parts.append(f'<p class="legend">{keys}</p>')
    tags = [pair.scope, pair.kind, f"by {pair.writer}"]
    tags += [f"{name} {score:.2f}" for name, score in (scores or {}).items()]
    line = "".join(f'<span class="tag">{html.escape(tag)}</span>' for tag in tags)
    cues = f" cues: {html.escape(_one_line(pair.cues))}" if pair.cues else ""
    parts.append(f'<p class="tags" style="margin-top:10px">{line} {html.escape(pair.id)}{cues}</p>')
    return f'{STYLE}<div class="rt-card">{"".join(parts)}</div>'


def evidence(pair: QAPair, sources: Sources, around: Neighbourhoods | None = None) -> str:
    """The right half of the card: the chunks that the pair rests on, and the neighbourhood of its entity."""
    parts = []
    for chunk_id in pair.evidence_ids:
        chunk = sources.by_id.get(chunk_id)
        if chunk is None:
            parts.append(f"<blockquote>chunk {html.escape(chunk_id)} is missing</blockquote>")
            continue
        head = f"<b>{html.escape(spoken_date(chunk.date))}</b>" if chunk.date else ""
        parts.append(
            f'<blockquote dir="auto">{head}{marked(chunk.text, supporting(chunk.text, pair, sources))}</blockquote>'
        )
    parts = parts or ["<blockquote>The pair names no source.</blockquote>"]
    return f'{STYLE}<div class="rt-card">{"".join(parts)}{around.drawing(pair) if around else ""}</div>'


def marked(text: str, spans: Sequence[Span]) -> str:
    """A text escaped, with its spans marked."""
    shown = []
    for piece, kinds in pieces(text, spans):
        told = "; ".join(MEANING[kind] for kind in kinds)
        escaped = html.escape(piece)
        shown.append(f'<mark class="{" ".join(kinds)}" title="{told}">{escaped}</mark>' if kinds else escaped)
    return "".join(shown)


def difference(before: str, after: str) -> str:
    """Escaped HTML of the steps from one wording to another: struck out what goes, underlined what comes."""
    tag = {"deleted": "del", "inserted": "ins"}
    return "".join(
        html.escape(text) if kind == "same" else f"<{tag[kind]}>{html.escape(text)}</{tag[kind]}>"
        for kind, text in word_diff(before, after)
    )


def flag_list(flags: Sequence[Flag]) -> str:
    """The findings alone, for beside an editor."""
    return f'{STYLE}<div class="rt-card">{"".join(map(_flag, flags))}</div>'


def _changed(name: str, pair: QAPair, original: QAPair | None, spans: Sequence[Span]) -> str:
    """One field with its marks; where a person changed it, the difference below it."""
    now, before = getattr(pair, name), getattr(original or pair, name)
    shown = marked(now, spans)
    if now == before:
        return shown
    head = '<span style="font-size:12px;font-weight:600;color:#56606b">changed: </span>'
    return f'{shown}<br>{head}<span style="font-size:13px;font-weight:400">{difference(before, now)}</span>'


def _flag(flag: Flag) -> str:
    effect = "blocks: not used unless you keep it" if flag.blocks else "remark"
    text = html.escape(f"{flag.check}: {flag.detail}")
    return f'<div class="flag{" blocks" if flag.blocks else ""}">{text} <small>({effect})</small></div>'


def _one_line(text: str) -> str:
    return " / ".join(text.split("\n"))
