"""Held-out questions: the ones a model is measured with and never trained on."""

from __future__ import annotations

import json
import random
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from ragtune_lib.ask import ask, spans
from ragtune_lib.global_topics import GLOBAL_CHANGE
from ragtune_lib.records import Chunk, Problem, QAPair, Question, QuestionScope, Sentence
from ragtune_lib.store import ROOT, content_id, to_record
from ragtune_lib.support import REFUSAL
from ragtune_lib.text import STOPWORDS, contains, content_words, normalize, sentences
from ragtune_lib.text import names as names_in

if TYPE_CHECKING:
    from ragtune_lib.models import Embed

FIELDS = ("id", "scope", "question", "answer", "facts", "evidence")
# forms that no training question uses
HELD_OUT_GLOBAL = "Which moments with {name} stand out, from the first to the last?"
HELD_OUT_ABSENT = {  # by a word that the documents must not hold
    "languages": "Which languages does {name} speak?",
    "tall": "How tall is {name}?",
    "dentist": "What is the surname of {name}'s dentist?",
    "passport": "Where was {name}'s passport issued?",
    "perfume": "Which perfume does {name} prefer?",
}
TOPICS = [re.compile(re.escape(form).replace(r"\{name\}", "(.+)")) for form in GLOBAL_CHANGE]
ABSENT_NAME = re.compile(r"(?:What is|say what) (.+)'s ")  # of synthesize.ABSENT_QUESTION


def read_questions(path: Path) -> list[Question]:
    """Read a questions file, written by hand or by an earlier run, and refuse it when a row cannot be scored.

    JSON Lines, one object per question: `id`, `scope` (local, global, unanswerable), `question`, `answer` (the
    reference), `facts` (a list of facts, each a list of accepted wordings; none for unanswerable questions, at least
    one for the others) and `evidence` (a list of document names or chunk ids).

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: at the first row that is wrong, with file, line and field, e.g.
            "questions.jsonl, line 7: missing field 'facts'"; also when the file holds no question.
    """
    if not path.is_file():
        raise FileNotFoundError(f"questions file {path} does not exist")
    questions: list[Question] = []
    seen: dict[str, int] = {}
    with path.open("rb") as stream:
        for number, line in enumerate(stream, 1):
            if not line.strip():
                continue
            where = f"{path.name}, line {number}"
            question = _question(line, where)
            if question.id in seen:
                raise ValueError(f"{where}: field 'id': {question.id!r} is already used in line {seen[question.id]}")
            seen[question.id] = number
            questions.append(question)
    if not questions:
        raise ValueError(f"{path.name}: no question in the file")
    return questions


def _question(line: bytes, where: str) -> Question:
    try:
        row = json.loads(line.decode("utf-8-sig"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(f"{where}: not a line of JSON in UTF-8: {error}") from error
    if not isinstance(row, dict):
        raise ValueError(f"{where}: expected an object with the fields {', '.join(FIELDS)}, got {row!r:.60}")
    for name in FIELDS:
        if name not in row:
            raise ValueError(f"{where}: missing field {name!r}")
        complaint = _complaint(name, row[name])
        if complaint:
            raise ValueError(f"{where}: field {name!r}: {complaint}")
    if bool(row["facts"]) == (row["scope"] == "unanswerable"):
        need = "no fact" if row["facts"] else "at least one fact"
        raise ValueError(f"{where}: field 'facts': a question of scope {row['scope']!r} has {need}")
    return to_record(Question, row, where)


def _complaint(name: str, value: Any) -> str:
    """What is wrong with one field, "" when nothing is."""
    if name == "facts":
        right = isinstance(value, list) and all(fact and _texts(fact) for fact in value)
        return "" if right else f"expected lists of accepted wordings, none empty, got {value!r:.60}"
    if name == "evidence":
        return "" if _texts(value) else f"expected a list of document names, got {value!r:.60}"
    if not isinstance(value, str):
        return f"expected text, got {value!r:.60}"
    if name == "scope" and value not in get_args(QuestionScope):
        return f"unknown scope {value!r}, expected one of {', '.join(get_args(QuestionScope))}"
    return "" if value.strip() or name == "answer" else "empty"


def _texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) and item.strip() for item in value)


def held_out_questions(
    path: str, pairs: Sequence[QAPair], chunks: Sequence[Chunk], embed: Embed, count: int, seed: int, limit: float = 0.9
) -> tuple[list[Question], list[Problem]]:
    """The questions that measure the model: read from a file, or generated apart from the training pairs.

    Args:
        path: questions file, absolute or relative to the project; "" generates.
        pairs: training pairs; a generated question that is worded like one of theirs is left out.
        chunks: the corpus.
        embed: sentence encoder.
        count: how many to generate, two thirds of them local, a fifth global, the rest unanswerable.
        seed: of the choice.
        limit: cosine from which two questions are worded alike.

    Returns:
        The questions, and a Problem when fewer than `count` could be made.
    """
    if path:
        return read_questions(ROOT / path), []
    made = generate_questions(pairs, chunks, embed, count, seed, limit)
    reason = f"{len(made)} of {count} held-out questions could be generated: the documents hold too few different facts"
    return made, [] if len(made) == count else [Problem("04_curate", "held-out questions", reason)]


def generate_questions(
    pairs: Sequence[QAPair], chunks: Sequence[Chunk], embed: Embed, count: int, seed: int, limit: float = 0.9
) -> list[Question]:
    """Make held-out questions from the documents by rules, worded unlike every training question.

    Local ones ask for spans of sentences that no training question asks for; global ones use forms of their own over
    the same entities; unanswerable ones ask for attributes of their own. The facts are trained, the wordings are not.
    Facts come from the sentences, so they are right by construction, but plainer than a person's.
    """
    from ragtune_lib.units import evidence_units

    chooser = random.Random(seed + 1000)
    trained = [pair.question for pair in pairs]
    known = {normalize(question) for question in trained}
    units = evidence_units(chunks)
    local = _local_candidates(units, pairs)
    wide = _global_candidates(units, pairs)
    absent = _absent_candidates(units, pairs)
    chosen: list[Question] = []
    for candidates, wanted in ((local, count - count // 5 - count // 8), (wide, count // 5), (absent, count // 8)):
        fresh = [question for question in candidates if normalize(question.question) not in known]
        chooser.shuffle(fresh)
        chosen += _unlike(fresh, trained, embed, limit)[:wanted]
    ids = [content_id(question.question, question.facts) for question in chosen]
    return [replace(question, id=name) for question, name in zip(chosen, ids, strict=True)]


def _local_candidates(units: Sequence[Sentence], pairs: Sequence[QAPair]) -> list[Question]:
    asked = {(evidence, pair.answer) for pair in pairs for evidence in pair.evidence_ids}
    found = []
    for unit in units:
        for sentence in sentences(unit.text):
            for start, end, word in spans(sentence, sorted(names_in(sentence))):
                span = sentence[start:end].removeprefix("because ")
                question = ask(sentence, start, end, word, "the narrator")
                clear = len(content_words(question)) >= 3 and len(question.split()) <= 24
                if (
                    clear
                    and (unit.chunk_id, span) not in asked
                    and normalize(span)
                    and not contains(normalize(question), span)
                ):
                    facts = ((span, *_without_determiner(span)),)
                    found.append(Question("", "local", question, span, facts, (unit.chunk_id,)))
    return found


def _global_candidates(units: Sequence[Sentence], pairs: Sequence[QAPair]) -> list[Question]:
    by_chunk: dict[str, list[str]] = defaultdict(list)
    for unit in units:
        by_chunk[unit.chunk_id].append(unit.text)
    found = []
    for pair in pairs:
        name = next(filter(None, (form.fullmatch(pair.question) for form in TOPICS)), None)
        if pair.kind != "change" or not name:
            continue
        facts = []
        for text in (text for chunk_id in pair.evidence_ids for text in by_chunk[chunk_id] if text in pair.reasoning):
            parts = [text[start:end] for start, end, _ in spans(text, sorted(names_in(text)))]
            parts = [part for part in parts if normalize(part) and not contains(normalize(name.group(1)), part)]
            if parts:
                longest = max(parts, key=len)
                facts.append((longest, *_without_determiner(longest)))
        facts = list(dict.fromkeys(facts))
        if len(facts) >= 2:
            question = HELD_OUT_GLOBAL.format(name=name.group(1))
            found.append(Question("", "global", question, pair.answer, tuple(facts), pair.evidence_ids))
    return list({question.question: question for question in found}.values())


def _absent_candidates(units: Sequence[Sentence], pairs: Sequence[QAPair]) -> list[Question]:
    known = {word for unit in units for word in content_words(unit.text)}
    forms = [form for word, form in HELD_OUT_ABSENT.items() if word not in known]
    found = (ABSENT_NAME.search(pair.question) for pair in pairs if pair.kind == "absent")
    return [
        Question("", "unanswerable", form.format(name=name), REFUSAL, (), ())
        for name in sorted({match.group(1) for match in found if match})
        for form in forms
    ]


def _without_determiner(span: str) -> tuple[str, ...]:
    head, _, rest = span.partition(" ")
    return (rest,) if rest and head.lower() in STOPWORDS else ()


def _unlike(candidates: list[Question], trained: Sequence[str], embed: Embed, limit: float) -> list[Question]:
    """Candidates whose wording is near no training question and no earlier candidate."""
    import numpy as np

    if not candidates:
        return []
    vectors = embed([question.question for question in candidates])
    nearest = np.full(len(candidates), -1.0)
    if trained:
        known = embed(list(trained))
        for start in range(0, len(known), 4096):
            nearest = np.maximum(nearest, (vectors @ known[start : start + 4096].T).max(1))
    kept: list[int] = []
    for at in np.flatnonzero(nearest < limit):
        if not kept or float((vectors[kept] @ vectors[at]).max()) < limit:
            kept.append(int(at))
    return [candidates[at] for at in kept]
