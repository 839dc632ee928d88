"""Which pairs to look at, and in which order.

`matching` filters, `ordered` orders; both take and give ids, so a list of ids is all that a panel has to hold.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ragtune_lib.checks import Embed
from ragtune_lib.curate import STATES, Curation
from ragtune_lib.records import Community, Document, Entity
from ragtune_lib.store import read_records
from ragtune_lib.text import STOPWORDS, WORD

if TYPE_CHECKING:
    import numpy as np

ORDERS = ("undecided", "worst", "random", "similar", "document")
ALIKE = 0.9  # cosine from which two questions do not lead two groups
BLOCK = 1024  # questions that are compared all with all: bounds the time where many are alike
LATER = {"undecided": 0, "stale": 0, "flag": 1, "skip": 2}  # rank in the order "undecided"; what is decided comes last


@dataclass(frozen=True, slots=True)
class Filter:
    """What a pair must be to be listed; "" is anything."""

    status: str = ""  # one of `curate.STATES`
    scope: str = ""
    kind: str = ""
    check: str = ""  # a check that flagged it
    community: str = ""  # id of a community with an entity in the pair's evidence
    document: str = ""  # id of a document of the pair's evidence
    reviewer: str = ""  # somebody who said something about it, other than a note
    text: str = ""  # words that all occur in question, reasoning or answer, in any case, also as parts of words


def matching(curation: Curation, chosen: Filter) -> list[str]:
    """Ids of the pairs that a filter lets through, in the order of the pairs.

    Raises:
        ValueError: for a status that is none, or an unknown community.
        FileNotFoundError: if communities are asked for and the run has no graph.
    """
    if chosen.status and chosen.status not in STATES:
        raise ValueError(f"unknown status {chosen.status!r:.60}, expected one of {', '.join(STATES)}")
    ids = list(curation.pairs)
    for name, test in TESTS.items():
        if value := getattr(chosen, name):
            keeps = test(curation, value)
            ids = [pair_id for pair_id in ids if keeps(pair_id)]
    if words := chosen.text.casefold().split():  # last, when few are left
        texts = searched_texts(curation)
        for word in words:
            ids = [pair_id for pair_id in ids if word in texts[pair_id]]
    return ids


Test = Callable[[str], bool]


def _in_chunks(curation: Curation, chunk_ids: set[str]) -> Test:
    pairs = curation.pairs
    return lambda pair_id: not chunk_ids.isdisjoint(pairs[pair_id].evidence_ids)


def _community(curation: Curation, community_id: str) -> Test:
    if not curation.communities:  # read once: a large graph takes seconds
        chunk_ids = {one.id: one.chunk_ids for one in read_records(curation.folder / "entities.jsonl", Entity)}
        for community in read_records(curation.folder / "communities.jsonl", Community):
            inside = {chunk_id for one in community.entity_ids for chunk_id in chunk_ids.get(one, ())}
            curation.communities[community.id] = inside
    if community_id not in curation.communities:
        raise ValueError(f"no community with id {community_id!r:.60}")
    return _in_chunks(curation, curation.communities[community_id])


def _document(curation: Curation, document_id: str) -> Test:
    return _in_chunks(curation, {one.id for one in curation.chunks.values() if one.document_id == document_id})


def _reviewer(curation: Curation, reviewer: str) -> Test:
    events = curation.events
    return lambda pair_id: pair_id in events.about and reviewer in events.words(pair_id)


TESTS: dict[str, Callable[[Curation, str], Test]] = {
    "status": lambda curation, value: lambda pair_id: curation.state(pair_id) == value,
    "scope": lambda curation, value: lambda pair_id: curation.pairs[pair_id].scope == value,
    "kind": lambda curation, value: lambda pair_id: curation.pairs[pair_id].kind == value,
    "check": lambda curation, value: (
        lambda pair_id: pair_id in curation.flags and any(flag.check == value for flag in curation.flags[pair_id])
    ),
    "community": _community,
    "document": _document,
    "reviewer": _reviewer,
}


def searched_texts(curation: Curation) -> dict[str, str]:
    """Question, reasoning and answer of each pair as it stands, without case; made once, an edit renews its own."""
    searched = curation.searched
    if len(searched) < len(curation.pairs):
        for pair_id in curation.pairs:
            if pair_id not in searched:
                pair = curation.pair(pair_id)
                searched[pair_id] = f"{pair.question}\n{pair.reasoning}\n{pair.answer}".casefold()
    return searched


def choices(curation: Curation) -> dict[str, list[tuple[str, str]]]:
    """What each field of a filter but the text may be, as (label, value); "" is not among them.

    Communities and documents are named as far as the run folder knows them.
    """
    pairs = curation.pairs.values()
    found = {
        "status": STATES,
        "scope": sorted({pair.scope for pair in pairs}),
        "kind": sorted({pair.kind for pair in pairs}),
        "check": sorted({flag.check for flags in curation.flags.values() for flag in flags}),
        "reviewer": sorted({event.reviewer for event in curation.decisions} - {""}),
    }
    named = {field: [(value, value) for value in values] for field, values in found.items()}
    documents, communities = curation.folder / "documents.jsonl", curation.folder / "communities.jsonl"
    names = {one.id: one.name for one in read_records(documents, Document)} if documents.is_file() else {}
    ids = dict.fromkeys(chunk.document_id for chunk in curation.chunks.values())
    named["document"] = [(names.get(one, one), one) for one in ids]
    groups = read_records(communities, Community) if communities.is_file() else []
    named["community"] = [(f"{one.title} (level {one.level})", one.id) for one in groups]
    return named


def ordered(
    curation: Curation, ids: Sequence[str], order: str = "undecided", seed: int = 17, embed: Embed | None = None
) -> list[str]:
    """The same ids in another order; where an order has nothing to say, they stay as they are.

    | order | first |
    |---|---|
    | undecided | undecided and stale pairs, then flagged, then skipped, then decided ones |
    | worst | most findings that block, then most findings |
    | random | by a hash of seed and id: whatever else is listed, two pairs stay in the same order |
    | similar | pairs with near questions stand together |
    | document | as their evidence stands in the chunks; pairs without evidence last |

    Args:
        curation: the state.
        ids: of pairs.
        order: one of `ORDERS`.
        seed: of "random" and of the groups of "similar".
        embed: for "similar": texts to rows of length 1, asked once for the questions of all pairs (10 seconds for
            4,500 of them on two cores). Without it questions are near that share their rarest words.

    Raises:
        ValueError: if there is no such order.
    """
    if order == "undecided":
        return sorted(ids, key=lambda pair_id: LATER.get(curation.state(pair_id), 3))
    if order == "worst":
        return sorted(ids, key=lambda pair_id: _badness(curation, pair_id))
    if order == "random":
        return sorted(ids, key=lambda pair_id: hashlib.sha256(f"{seed} {pair_id}".encode()).digest())
    if order == "similar":
        if embed is None:
            return _by_words(curation, ids)
        if curation.vectors is None:
            curation.vectors = embed([pair.question for pair in curation.pairs.values()])
        return _by_vectors(curation, ids, curation.vectors, seed)
    if order == "document":
        places = {chunk_id: place for place, chunk_id in enumerate(curation.chunks)}
        last = len(places)
        return sorted(
            ids, key=lambda one: min((places.get(c, last) for c in curation.pairs[one].evidence_ids), default=last)
        )
    raise ValueError(f"unknown order {order!r:.60}, expected one of {', '.join(ORDERS)}")


def _badness(curation: Curation, pair_id: str) -> tuple[int, int]:
    flags = curation.flags.get(pair_id, ())
    return -sum(flag.blocks for flag in flags), -len(flags)


def _by_words(curation: Curation, ids: Sequence[str]) -> list[str]:
    """Sorted by their words, the rarest first; words that only one question has do not count."""
    told = {one: {*WORD.findall(curation.pair(one).question.casefold())} - STOPWORDS for one in ids}
    frequency = Counter(word for words in told.values() for word in words)
    shared = {one: sorted((frequency[word], word) for word in told[one] if frequency[word] > 1) for one in ids}
    return sorted(ids, key=lambda one: shared[one] or [(len(ids) + 1, "")])


def _by_vectors(curation: Curation, ids: Sequence[str], vectors: np.ndarray, seed: int) -> list[str]:
    """Groups around sqrt(n) of the questions, drawn by the seed; inside a group each is followed by its nearest left.

    That is two passes of n * sqrt(n) products of vectors, where comparing all with all would be n squared.
    """
    import numpy as np

    if not ids:
        return []
    rows = {pair_id: row for row, pair_id in enumerate(curation.pairs)}
    chosen = np.asarray(vectors, dtype=np.float32)[[rows[pair_id] for pair_id in ids]]
    count = max(1, int(len(ids) ** 0.5))
    drawn = chosen[np.sort(np.random.default_rng(seed).choice(len(ids), count, replace=False))]
    likeness = np.triu(drawn @ drawn.T, 1)
    leaders = drawn[likeness.max(axis=0) < ALIKE]  # two of one kind would divide what belongs together
    groups: defaultdict[int, list[int]] = defaultdict(list)
    for start in range(0, len(ids), 4096):
        nearest = (chosen[start : start + 4096] @ leaders.T).argmax(axis=1)
        for offset, leader in enumerate(nearest.tolist()):
            groups[leader].append(start + offset)
    blocks = [members[start : start + BLOCK] for members in groups.values() for start in range(0, len(members), BLOCK)]
    return [ids[place] for members in blocks for place in _chain(chosen, members)]


def _chain(vectors: np.ndarray, members: list[int]) -> list[int]:
    """The members of one group, each followed by the nearest of those that are left."""
    import numpy as np

    likeness = vectors[members] @ vectors[members].T
    at, found = 0, []
    for _ in members:
        found.append(members[at])
        likeness[:, at] = -np.inf
        at = int(likeness[at].argmax())
    return found
