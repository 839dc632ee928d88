"""Prompts are files, one each, under `prompts/`."""

from functools import cache
from pathlib import Path
from string import Template

from ragtune_lib.store import content_id


@cache
def template(name: str) -> Template:
    """The prompt `prompts/NAME.md`; fill it with one `.substitute(...)`, so that `$` in a value stays what it is.

    Raises:
        FileNotFoundError: if there is no such prompt.
    """
    return Template((Path(__file__).parent / "prompts" / f"{name}.md").read_text(encoding="utf-8").strip())


def boundary(*texts: str) -> str:
    """A mark for the lines between texts in a prompt; none of the texts holds it, so none can end itself.

    It depends on the first text alone, as long as that works: prompts that begin alike stay alike, which providers
    bill less for. Texts may be hostile; that they do not hold the mark is checked and not left to chance.
    """
    number = 0
    while any((mark := content_id("boundary", texts[0], number)) in text for text in texts):
        number += 1
    return mark


def fenced(text: str) -> str:
    """A text between two equal lines that it does not hold, so that nothing in it can pass for a part of the prompt.

    >>> first, text, last = fenced("===").splitlines()
    >>> first == last, text
    (True, '===')
    """
    mark = f"=== {boundary(text)} ==="
    return f"{mark}\n{text}\n{mark}"
