"""Names that the rules find, scored against people's annotation (GUM, https://gucorpling.org/gum/)."""

from __future__ import annotations

import ast
import json
import re
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

from ragtune_lib.graph.extraction_score import NameScore, score_names
from ragtune_lib.records import Chunk

GUM = Path("gum_entities", "gum_docs.jsonl")
DETERMINER = re.compile(r"^(?:the|a|an|my|our|his|her|its|their|your|this|that|these|those)\s+", re.IGNORECASE)
SMALL = frozenset("of the for and de la le les du des del der van von al el ibn in on at to & - / .".split())  # noqa: SIM905
PRONOUNS = frozenset("i he she it we you they me him us them his her its our your their who this that mine".split())  # noqa: SIM905


def names_by_rules(texts: Sequence[str]) -> list[set[str]]:
    """Names that `graph.extract.extract_mentions` finds, per text; it learns from all of them together."""
    from ragtune_lib.graph.extract import extract_mentions

    chunks = [Chunk(str(number), str(number), 0, len(text), text, "") for number, text in enumerate(texts)]
    names: list[set[str]] = [set() for _ in texts]
    for mention in extract_mentions(chunks):
        if mention.kind == "name":
            names[int(mention.chunk_id)].add(mention.name)
    return names


def extraction(file: Path, find: Callable[[Sequence[str]], list[set[str]]] = names_by_rules) -> dict[str, Any]:
    """Precision, recall and F1 of an extractor's names, in all and by genre.

    Args:
        file: gum_docs.jsonl.
        find: any extractor: texts to names per text; an endpoint's extractor is scored by the same code.
    """
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    started = time.perf_counter()
    found = find([row["text"] for row in rows])
    seconds = time.perf_counter() - started
    gold = [gold_names(row) for row in rows]

    def score(genre: str = "") -> NameScore:
        at = [index for index, row in enumerate(rows) if genre in ("", row["genre"])]
        return score_names([found[i] for i in at], [gold[i][0] for i in at], [gold[i][1] for i in at])

    whole = score()
    return {
        "documents": len(rows),
        "seconds": seconds,
        "precision": whole.precision,
        "recall": whole.recall,
        "f1": whole.f1,
        "found": whole.found,
        "demanded": whole.demanded,
        "f1_by_genre": {genre: score(genre).f1 for genre in sorted({row["genre"] for row in rows})},
        "wrong": whole.wrong,
        "missed": whole.missed,
    }


def gold_names(row: dict[str, Any]) -> tuple[list[tuple[str, ...]], set[str]]:
    """Names that an extractor should find in one document, each with its accepted wordings, and names it may find.

    The corpus marks every mention of anything, pronouns and clauses too, and does not say which are names. A name here
    is the part of a mention before a comma or bracket, without determiner and possessive, whose first and last word
    are capitalised (between them small words like "of"), or the capitalised run that ends a mention after small words
    ("actor Dennis Hopper"). Times are left out; so is a single word that the document also writes small, or that only
    ever opens sentences and has no Wikipedia page. What only stands inside a longer name of its sentence is allowed
    and not demanded. Accepted are also a name without its owner ("Mecca's Grand Mosque"), without the place after it
    ("Adler Planetarium in Chicago"), and a person's without what comes before ("General Jean Lamarque").
    """
    entities, sentences = _literal(row["entities"]), _literal(row["sentences"])
    small = set(re.findall(r"(?<!\w)[a-z][\w-]*", row["text"]))
    mentions = [
        (name, mention["sent"], entity)
        for entity in entities
        if entity["type"] != "time"
        for mention in entity["mentions"]
        if (name := _name(mention["text"]))
    ]
    linked = {name for name, _, entity in mentions if entity["wiki"]}
    inside = {name for name, at, _ in mentions if not sentences[at].lstrip("\"'( ").startswith(name)}
    names = {
        name
        for name, _, _ in mentions
        if len(name.split()) > 1 or (name.lower() not in small and (name in linked or name in inside))
    }
    demanded = {}
    for name, at, entity in mentions:
        around = [other for other, where, _ in mentions if where == at and other in names and other != name]
        nested = any(f" {name} " in f" {other} " for other in around)
        joined = " and " in name and any(part in names for part in name.split(" and "))
        if name in names and not nested and not joined:
            demanded[name] = (name, *_wordings(name, names, entity["type"] == "person"))
    return list(demanded.values()), names - set(demanded)


def _wordings(name: str, names: Collection[str], person: bool) -> Iterator[str]:
    """Shorter forms of a name that are as right."""
    owner, _, owned = name.partition("'s ")
    if owner in names and owned:
        yield owned
        yield from _wordings(owned, names, person)
    for place in re.finditer(r" (?:in|at|on|from) (?:the )?", name):
        if name[place.end() :] in names:
            yield name[: place.start()]
    words = name.split()
    if person and all(word[0].isupper() for word in words):
        yield from (" ".join(words[start:]) for start in range(1, len(words) - 1))


def _literal(value: Any) -> Any:
    return ast.literal_eval(value) if isinstance(value, str) else value


def _name(mention: str) -> str:
    """The name in a mention, "" where there is none; the corpus puts blanks around punctuation."""
    text = re.split(r" [,(\[;:] ?|[\"\u201c\u201d]", mention)[0].strip()
    text = re.sub(r"\s+['\u2019](?:s)?$", "", DETERMINER.sub("", text))
    text = re.sub(r"\s+(['\u2019]s)(?= )", r"\1", text).replace(" - ", "-")
    words = text.split()
    capital = [word[0].isupper() or (word[0].isdigit() and place > 0) for place, word in enumerate(words)]
    if words and not capital[0]:  # "accredited Wikinews reporter William Saturn"
        tail = next((place for place in range(len(words) - 1, -1, -1) if not capital[place]), -1) + 1
        if any(word in SMALL for word in words[:tail]) or not len(words) - tail >= 2:
            return ""
        words, capital = words[tail:], capital[tail:]
    plain = all(big or word.lower() in SMALL for big, word in zip(capital, words, strict=True))
    if not words or not plain or not capital[-1] or "".join(words).lower() in PRONOUNS or len("".join(words)) < 2:
        return ""
    return " ".join(words)
