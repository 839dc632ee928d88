"""What the side panel says about an entity, a relationship or a community, as HTML with every text escaped."""

from __future__ import annotations

import html
import re
from collections.abc import Collection, Mapping, Sequence
from itertools import pairwise

from ragtune_lib.graph.coverage import Coverage
from ragtune_lib.graph.drawing import harmless, written
from ragtune_lib.records import Chunk, Community, Document, Entity, QAPair, Relationship
from ragtune_lib.text import spoken_date

CHUNKS = 6  # shown of each thing; the rest is counted
CHUNK_TEXT = 1600  # characters shown of a chunk, from shortly before the first mention
BEFORE = 300
PAIRS = 8
TEXT = 2000  # characters of a description or report
STYLE = """<style>
.graph-card{font:14px/1.5 system-ui,-apple-system,'Segoe UI',Roboto,sans-serif;color:#1c1e21;background:#fff;
overflow-wrap:anywhere;padding:2px 8px}
.graph-card h3{font-size:17px;margin:4px 0 2px;unicode-bidi:isolate}
.graph-card h4{font-size:12px;margin:12px 0 2px;color:#5f6670;font-weight:600}
.graph-card p{margin:2px 0;white-space:pre-wrap;unicode-bidi:isolate}
.graph-card .tag{display:inline-block;background:#eef1f4;border-radius:10px;padding:0 9px;margin:0 6px 4px 0;
font-size:12px}
.graph-card blockquote{margin:4px 0;padding:4px 10px;border-left:3px solid #d5d9de;white-space:pre-wrap;
unicode-bidi:isolate}
.graph-card mark{background:#ffe08a;color:inherit;border-radius:2px}
.graph-card .told{background:#fdf6df}
.graph-card ul{margin:2px 0;padding-left:18px}
</style>"""


def entity_card(
    entity: Entity,
    degree: int,
    names: Collection[str],
    chunks: Mapping[str, Chunk],
    documents: Mapping[str, Document],
    communities: Sequence[Community],
    coverage: Coverage | None = None,
    source: Entity | None = None,
) -> str:
    """An entity: what it is, where it is named, its communities, the pairs made from it and what became of them.

    Args:
        entity: as it is now.
        degree: number of its relationships.
        names: its spellings, marked in the text.
        chunks: by id; one that is missing is named as missing.
        documents: by id.
        communities: that it is in, coarsest first.
        coverage: pairs, where some were made.
        source: the entity as it was before corrections, whose name the pairs use.
    """
    tags = [entity.kind or "no type", f"{degree:,} relationships", f"{len(entity.evidence):,} sentences"]
    parts = [f"<h3>{_text(entity.name)}</h3>", *(f'<span class="tag">{_text(tag)}</span>' for tag in tags)]
    if text := written(entity):
        parts.append(f"<h4>Description</h4><p>{_text(text[:TEXT])}</p>")
    groups = "".join(f"<li>level {one.level}: {_text(one.title or one.id)}</li>" for one in communities)
    parts.append(f"<h4>Communities</h4><ul>{groups or '<li>none</li>'}</ul>")
    told = [sentence.text for sentence in entity.evidence]
    in_order = dict.fromkeys([*(sentence.chunk_id for sentence in entity.evidence), *entity.chunk_ids])
    parts.append(_sources(list(in_order), names, told, chunks, documents))
    if coverage is not None:
        parts.append(_pairs(coverage.about(source or entity), coverage))
    return _card(parts)


def relations_card(
    links: Sequence[Relationship],
    names: Mapping[str, str],
    chunks: Mapping[str, Chunk],
    documents: Mapping[str, Document],
) -> str:
    """All relations of two entities, or of one with itself: what was written about each, and where."""
    ends = [names[links[0].source], names[links[0].target]]
    parts = [f"<h3>{_text(ends[0])} \u2013 {_text(ends[1])}</h3>"]
    for link in links:
        parts.append(f'<span class="tag">weight {link.weight:g}</span>')
        if text := written(link):
            parts.append(f"<p>{_text(text[:TEXT])}</p>")
    chunk_ids = dict.fromkeys(one for link in links for one in link.chunk_ids)
    told = [sentence.text for link in links for sentence in link.evidence]
    parts.append(_sources(list(chunk_ids), ends, told, chunks, documents))
    return _card(parts)


def community_card(community: Community, name: str, members: Sequence[Entity], whole: int) -> str:
    """A community with its report and its best connected members."""
    listed = ", ".join(_text(entity.name[:80]) for entity in members[:40])
    more = f" and {whole - 40:,} more" if whole > 40 else ""
    tags = (f"level {community.level}", f"{whole:,} entities")
    parts = [f"<h3>{_text(name)}</h3>", *(f'<span class="tag">{tag}</span>' for tag in tags)]
    report = community.summary[: 4 * TEXT] or "no report"
    return _card([*parts, f"<h4>Report</h4><p>{_text(report)}</p><h4>Entities</h4><p>{listed}{more}</p>"])


def _card(parts: Sequence[str]) -> str:
    return f'{STYLE}<div class="graph-card">{"".join(parts)}</div>'


def _text(text: str) -> str:
    return html.escape(harmless(text))


def _pairs(pairs: Sequence[QAPair], coverage: Coverage) -> str:
    kept = sum(pair.id in coverage.kept for pair in pairs)
    rows = "".join(
        f"<li>{_text(pair.question)} <b>{_text(pair.answer[:200])}</b> "
        f'<span class="tag">{_text(coverage.states.get(pair.id, "undecided"))}</span></li>'
        for pair in pairs[:PAIRS]
    )
    more = f"<p>and {len(pairs) - PAIRS:,} more</p>" if len(pairs) > PAIRS else ""
    return f"<h4>Pairs made from it: {len(pairs):,}, of which {kept:,} are trained on</h4><ul>{rows}</ul>{more}"


def _sources(
    chunk_ids: Sequence[str],
    names: Collection[str],
    told: Sequence[str],
    chunks: Mapping[str, Chunk],
    documents: Mapping[str, Document],
) -> str:
    parts = [f"<h4>Sources: {len(chunk_ids):,} chunks</h4>"]
    for chunk_id in chunk_ids[:CHUNKS]:
        chunk = chunks.get(chunk_id)
        if chunk is None:
            parts.append(f"<blockquote>chunk {_text(chunk_id)} is missing</blockquote>")
            continue
        document = documents.get(chunk.document_id)
        about = [document.title or document.name] if document else []
        about += [spoken_date(chunk.date)] if chunk.date else []
        parts.append(f"<blockquote><b>{_text(', '.join(about))}</b>\n{marked(chunk.text, names, told)}</blockquote>")
    if len(chunk_ids) > CHUNKS:
        parts.append(f"<p>and {len(chunk_ids) - CHUNKS:,} more chunks</p>")
    return "".join(parts)


def marked(text: str, names: Collection[str], told: Sequence[str] = ()) -> str:
    """A chunk, escaped: the names marked as whole words in any case, the sentences that are evidence shaded.

    Args:
        text: of the chunk; a long one is cut, from shortly before the first name or sentence on.
        names: to mark.
        told: sentences, their blanks joined.
    """
    spans = sorted({match.span() for sentence in told if (match := _search(sentence, text))})
    mentions = sorted({match.span() for name in names for match in _pattern(name, whole=True).finditer(text)})
    first = min([start for start, _ in [*spans, *mentions]], default=0)
    begin = max(0, first - BEFORE) if len(text) > CHUNK_TEXT else 0
    end = min(len(text), begin + CHUNK_TEXT)
    edges = sorted({begin, end, *(edge for span in [*spans, *mentions] for edge in span if begin < edge < end)})
    parts = ["… " if begin else ""]
    for start, stop in pairwise(edges):
        piece = _text(text[start:stop])
        if any(low <= start and stop <= high for low, high in mentions):
            piece = f"<mark>{piece}</mark>"
        if any(low <= start and stop <= high for low, high in spans):
            piece = f'<span class="told">{piece}</span>'
        parts.append(piece)
    return "".join([*parts, " …" if end < len(text) else ""])


def _search(sentence: str, text: str) -> re.Match[str] | None:
    return _pattern(sentence).search(text) if sentence.strip() else None


def _pattern(phrase: str, whole: bool = False) -> re.Pattern[str]:
    """The phrase with any blanks between its words; a phrase of no words is nowhere."""
    words = r"\s+".join(map(re.escape, phrase.split())) or r"(?!)"
    return re.compile(rf"(?<!\w){words}(?!\w)" if whole else words, re.IGNORECASE)
