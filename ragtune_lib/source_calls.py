"""Calls that show a model passages of the documents, marked so that no text can pass for a part of the prompt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ragtune_lib.llm import Call, prompt
from ragtune_lib.prompt_files import boundary, template
from ragtune_lib.records import Chunk


def source_call(
    name: str,
    item: str,
    chunks: Sequence[Chunk],
    schema: Mapping[str, Any] | None,
    max_tokens: int,
    temperature: float = 0.0,
    sample: int = 0,
    **texts: object,
) -> Call:
    """Fill the prompt `prompts/NAME.md` with passages and other texts.

    Everything that is filled in is data. It is filled in once and not read again, so `$name` or braces in it stay what
    they are; and it stands between lines that carry a mark which none of the texts holds.

    Args:
        name: of the prompt; a constant.
        item: what the call is about.
        chunks: the passages for `$source`, in the order in which they are shown.
        schema: of the reply.
        max_tokens: of the reply.
        temperature: of the reply.
        sample: number of the draw.
        **texts: what the prompt's other places get.
    """
    values = {place: str(text) for place, text in texts.items()}
    mark = boundary(*(chunk.text for chunk in chunks), *(chunk.date for chunk in chunks), *values.values(), "")
    shown = [
        f"===== {mark} passage {number} of {len(chunks)}{chunk.date and f', dated {chunk.date}'}\n{chunk.text}"
        for number, chunk in enumerate(chunks, 1)
    ]
    text = template(name).substitute(values, mark=mark, source="\n".join(shown))
    return Call(item, prompt(text), max_tokens, temperature, schema, sample)


def spread(count: int, most: int) -> list[int]:
    """At most `most` of the places 0 to count - 1, evenly spread, first and last among them.

    >>> spread(10, 4), spread(3, 5)
    ([0, 3, 6, 9], [0, 1, 2])
    """
    if count <= most:
        return list(range(count))
    return [0] if most == 1 else sorted({round(at * (count - 1) / (most - 1)) for at in range(most)})
