"""Kept pairs become training examples: the form of the answer, the validation split, the label mask."""

from __future__ import annotations

import html
import random
import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any, Literal, get_args

from ragtune_lib.checks import QUOTED
from ragtune_lib.models import chat_prompt, has_token
from ragtune_lib.records import REASONED, Example, Problem, QAPair
from ragtune_lib.store import content_id
from ragtune_lib.text import normalize

AFTER_CUES = " >> "
# how an answer with cues begins: whether one source sentence answers the question, or each of several does in part
ONE, SEVERAL = "-", "*"
CUED = re.compile(rf"\A(<think>\n)?[{re.escape(ONE + SEVERAL)}] [^\n]*?{re.escape(AFTER_CUES)}")
Form = Literal["evidence_then_answer", "evidence", "answer", "plain", "think", "raft"]
THOUGHT = re.compile(r"\A(?:.*?</think>|\s*##Reason:.*?##Answer:|\s*##Answer:)\s*", re.DOTALL)


def target_text(pair: QAPair, form: Form) -> str:
    """What the assistant says for a pair.

    Args:
        pair: a question-answer pair.
        form: "evidence_then_answer" recalls the source and ends with the answer, where the source does not already
            end the thought; "evidence" recalls the source alone (a thought in its writer's own words is no source:
            such a pair is as in "plain"), and a changed answer of a person's; "answer" leaves the reasoning out. Where
            a pair has cues, they stand before what is recalled, after `ONE` (for cues of several lines see
            `make_examples`). The other three are for thoughts that a teacher wrote: "plain" puts a blank line between
            thought and answer (the published code has nothing there); "think" puts the thought between `<think>` and
            `</think>`, as reasoning models do; "raft" writes "##Reason: ..." and "##Answer: ..." with quotations
            between ##begin_quote## and ##end_quote## and without cues (RAFT, arXiv 2403.10131). A pair
            without a thought is its answer alone, but in "raft", where the head of the answer stays.
    """
    if form == "raft":
        reason = f"##Reason: {_with_quotes(pair)}\n" if pair.reasoning else ""
        return f"{reason}##Answer: {pair.answer}"
    if form == "answer" or not pair.reasoning:
        return pair.answer
    recalled = _cued(ONE, pair.cues, pair.reasoning) if pair.cues and "\n" not in pair.cues else pair.reasoning
    if form == "think":
        return f"<think>\n{recalled}\n</think>\n\n{pair.answer}"
    if form == "plain" or (form == "evidence" and pair.kind in REASONED):
        return recalled if pair.answer in (pair.reasoning, "") else f"{recalled}\n\n{pair.answer}"
    unsaid = pair.writer == "person" and pair.answer not in pair.reasoning  # an answer that a person has changed
    if (form == "evidence" and not unsaid) or pair.answer == "" or pair.reasoning.endswith(pair.answer):
        return recalled
    return f"{recalled} So: {pair.answer.rstrip('.')}."


def _cued(mark: str, cues: str, text: str) -> str:
    return f"{mark} {cues}{AFTER_CUES}{text}"  # with a space no tokenizer joins mark and word


def _with_quotes(pair: QAPair) -> str:
    """The reasoning with RAFT's marks around what is verbatim: all of it where the source itself is recalled."""
    if pair.kind not in REASONED:
        return f"##begin_quote## {pair.reasoning} ##end_quote##"
    return QUOTED.sub(lambda found: f"##begin_quote## {found[1] or found[2]} ##end_quote##", pair.reasoning)


def without_thought(text: str) -> str:
    r"""What a model that was trained on "think" or "raft" said, less its thought; other texts as they are.

    >>> without_thought("<think>\nIlse sold jam.\n</think>\n\nJam."), without_thought("##Answer: Jam.")
    ('Jam.', 'Jam.')
    """
    return THOUGHT.sub("", text)


def without_cues(text: str) -> str:
    """What a trained model said, less the mark and the cues that it says first.

    >>> without_cues("- soup, stairs, luck >> He carried a pan up the stairs: lentil soup.")
    'He carried a pan up the stairs: lentil soup.'
    >>> without_cues("Open Settings >> Network.")
    'Open Settings >> Network.'
    """
    return CUED.sub(lambda found: found[1] or "", text)


def make_examples(
    pairs: Sequence[QAPair], form: Form = "evidence_then_answer", validation_facts: int = 48, seed: int = 17
) -> list[Example]:
    """Turn pairs into examples and hold one wording of some facts out for validation.

    In the form "evidence" the wordings of a pair whose cues have several lines share them out: each leads to one of its
    sentences, so all together leave open which of them comes first.

    The facts stay in training (a memory must be trained on all of them); what is held out is a wording that no other
    pair shares. Only local facts with at least three wordings and global ones with at least two give one away, and a
    third of the held-out ones are global where there are enough.

    Args:
        pairs: kept pairs.
        form: see `target_text`.
        validation_facts: how many wordings to hold out; never more than a tenth of all pairs.
        seed: for the choice.

    Raises:
        ValueError: for a form that is none.
    """
    if form not in get_args(Form):
        raise ValueError(f"form {form!r}: choose one of {', '.join(get_args(Form))}")
    wordings: dict[str, list[QAPair]] = defaultdict(list)
    for pair in pairs:
        wordings[pair.fact_id].append(pair)
    chooser = random.Random(seed)
    local = sorted(fact for fact, group in wordings.items() if len(group) >= 3 and group[0].scope == "local")
    wide = sorted(fact for fact, group in wordings.items() if len(group) >= 2 and group[0].scope == "global")
    count = min(validation_facts, len(pairs) // 10)
    chosen = chooser.sample(wide, min(count // 3, len(wide)))
    chosen += chooser.sample(local, min(count - len(chosen), len(local)))
    asked = Counter(normalize(pair.question) for pair in pairs)
    own = {fact: [pair for pair in wordings[fact] if asked[normalize(pair.question)] == 1] for fact in chosen}
    held = {max(group, key=_validation_worth).id for group in own.values() if group}
    return [
        Example(
            id=content_id(pair.id, form),
            pair_id=pair.id,
            question=pair.question,
            target=target,
            split="validation" if pair.id in held else "train",
        )
        for pair, target in zip(pairs, _targets(pairs, form), strict=True)
    ]


def _targets(pairs: Sequence[QAPair], form: Form) -> list[str]:
    """What each pair teaches to say."""
    turns: Counter[str] = Counter()  # wordings of each fact so far
    found = {}
    for pair in sorted(pairs, key=lambda pair: pair.id):
        lines = _lines(pair) if form == "evidence" else []
        if lines:
            found[pair.id] = _cued(SEVERAL, *lines[turns[pair.fact_id] % len(lines)])
            turns[pair.fact_id] += 1
        else:
            found[pair.id] = target_text(pair, form)
    return [found[pair.id] for pair in pairs]


def _lines(pair: QAPair) -> list[tuple[str, str]]:
    """Cues and text of each of several source sentences that a pair recalls; none where it recalls but one."""
    cues, texts = pair.cues.split("\n"), pair.reasoning.split("\n")
    said = pair.writer != "person" or pair.answer in pair.reasoning
    fitting = said and pair.kind not in REASONED and 1 < len(cues) == len(texts)
    return list(zip(cues, texts, strict=True)) if fitting else []


def _validation_worth(pair: QAPair) -> tuple[bool, str]:
    """Prefer questions with a short answer, which can be scored: a span and not a whole sentence."""
    return (pair.answer not in pair.reasoning or len(pair.answer) < len(pair.reasoning) / 2, pair.id)


def tokenize(example: Example, tokenizer: Any) -> dict[str, list[int]]:
    """Token ids and labels of one example; labels are -100 (ignored) on all but the target and its end token."""
    prompt = tokenizer(chat_prompt(tokenizer, example.question), add_special_tokens=False)["input_ids"]
    end = "<|im_end|>" if has_token(tokenizer, "<|im_end|>") else tokenizer.eos_token
    target = tokenizer(example.target + end, add_special_tokens=False)["input_ids"]
    return {"input_ids": prompt + target, "labels": [-100] * len(prompt) + target}


def within_limit(
    examples: Sequence[Example], tokenizer: Any, max_tokens: int
) -> tuple[list[Example], list[dict[str, list[int]]], list[Problem]]:
    """Tokenize; examples longer than `max_tokens` are refused and counted, never cut."""
    kept, rows, problems = [], [], []
    for example in examples:
        row = tokenize(example, tokenizer)
        if len(row["input_ids"]) <= max_tokens:
            kept.append(example)
            rows.append(row)
        else:
            reason = f"{len(row['input_ids'])} tokens, more than max_tokens={max_tokens}; raise it or shorten the pair"
            problems.append(Problem("05_finetune", example.pair_id, reason))
    return kept, rows, problems


def masked_example(row: dict[str, list[int]], tokenizer: Any) -> str:
    """One tokenized example as HTML: what is only read in grey, what is learnt in black; text is escaped."""
    first = next(at for at, label in enumerate(row["labels"]) if label != -100)
    read, learnt = (html.escape(tokenizer.decode(ids)) for ids in (row["input_ids"][:first], row["input_ids"][first:]))
    return f'<pre style="white-space:pre-wrap"><span style="color:#888">{read}</span><b>{learnt}</b></pre>'
