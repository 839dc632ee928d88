import pytest

from ragtune_lib import prompt_files
from ragtune_lib.prompt_files import boundary, template
from ragtune_lib.store import ROOT

PROMPTS = sorted(path.stem for path in (ROOT / "ragtune_lib" / "prompts").glob("*.md"))


@pytest.mark.parametrize("name", PROMPTS)
def test_every_prompt_is_a_sound_template(name):
    assert template(name).is_valid()
    assert template(name).template == template(name).template.strip() != ""


def test_a_missing_value_or_prompt_is_an_error():
    with pytest.raises(KeyError, match="mark"):
        template("judge_pair").substitute(question="?")
    with pytest.raises(FileNotFoundError):
        template("no_such_prompt")


def test_a_boundary_stands_in_none_of_the_texts_even_if_one_knows_it():
    first = boundary("question")
    second = boundary("question", f"I know it: {first}")
    third = boundary("question", f"{second} {first}")
    assert len({first, second, third}) == 3
    assert boundary("question", "any other text") == first  # equal beginnings stay equal
    assert boundary("another question") != first


def test_a_boundary_that_stands_in_the_first_text_is_avoided_too(monkeypatch):
    monkeypatch.setattr(prompt_files, "content_id", lambda *parts: f"mark{parts[-1]}")
    assert boundary("a mark0 and a mark1", "mark2") == "mark3"
