import pytest

from ragtune_lib.keys import KeyCatcher

heard = []


@pytest.fixture
def catcher():
    heard.clear()
    return KeyCatcher({"a": "keep", "Ctrl+s": "save"}, lambda *told: heard.append(told), ("next",), ("save",), "Review")


def receive(catcher, **content):
    """What the browser sends when a key goes down."""
    catcher._handle_custom_msg(content, [])


def test_a_key_arrives_with_the_card_that_was_seen_and_the_wording_on_the_screen(catcher):
    receive(catcher, name="save", card=3, fields={"answer": "Plum jam."})
    assert heard == [("save", 3, {"answer": "Plum jam."})]


def test_a_name_that_no_key_has_is_not_passed_on(catcher):
    receive(catcher, name="__class__", card=1)
    receive(catcher, card=1)
    assert heard == []


def test_a_click_announces_what_was_typed_before_it(catcher):
    receive(catcher, name="typed", card=1, fields={"answer": "half a senten"})
    assert heard == [("typed", 1, {"answer": "half a senten"})]


def test_the_browser_learns_the_keys_and_which_of_them_repeat(catcher):
    state = catcher.get_state()
    assert state["bindings"] == {"a": "keep", "Ctrl+s": "save"}
    assert (state["repeats"], state["everywhere"], state["label"], state["card"]) == (["next"], ["save"], "Review", 0)


def test_the_panel_is_closed_to_the_shortcuts_of_jupyterlab_and_text_is_never_read_as_markup(catcher):
    script = str(catcher.get_state()["_esm"])
    assert '"data-lm-suppress-shortcuts", "true"' in script
    assert "innerHTML" not in script
