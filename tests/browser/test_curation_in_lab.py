"""The curation panel in JupyterLab: what clicks and keys write, what a restart finds again, what a text may not do."""

import labpage
import pytest
from corpus import NOTE

from ragtune_lib.records import QAPair
from ragtune_lib.store import read_records

pytestmark = pytest.mark.browser
WORDING = "Who painted the wall of the Harbour House?"


@pytest.fixture
def curating(notebook_page, lab, copy_of):
    """Opens notebook 04 on a copy of a run and runs it; gives the panel."""

    def opened(run):
        folder = copy_of(run)
        labpage.run_notebook(notebook_page, lab, folder, "04_curate")
        return labpage.Panel(notebook_page, folder / "decisions.jsonl")

    return opened


def test_the_mouse_keeps_drops_edits_and_undoes_and_a_restarted_kernel_goes_on(curating):
    panel = curating("plain")
    known = {pair.question for pair in read_records(panel.decisions.with_name("pairs.jsonl"), QAPair)}
    first = panel.question()
    assert first in known
    panel.press("Keep (a)", "keep")
    assert panel.question() != first
    panel.press("Drop (x)", "keep", "drop")
    found = labpage.serious_findings(panel.page, labpage.PANEL)
    panel.press("Edit (e)", "keep", "drop")
    assert found + labpage.serious_findings(panel.page, labpage.PANEL) == [], "axe-core, with and without the editor"
    panel.area("question").fill(WORDING)
    panel.press("Save edit (Ctrl+S)", "keep", "drop", "edit")
    assert labpage.lines(panel.decisions)[2]["question"] == WORDING
    panel.press("Undo (u)", "keep", "drop", "edit", "undo")
    panel.press("Keep (a)", "keep", "drop", "edit", "undo", "keep")
    shown = panel.question()

    labpage.restart(panel.page)
    assert labpage.run_all(panel.page) == []
    panel = labpage.Panel(panel.page, panel.decisions)
    assert panel.question() == shown
    before = panel.actions()
    panel.press("Undo (u)", *before, "undo")
    panel.press("Undo (u)", *before, "undo", "undo")
    steps = [line["step"] for line in labpage.lines(panel.decisions)]
    assert steps[-2:] == [steps[4], steps[1]], "the last keep, then the drop"


def test_keys_decide_and_never_reach_the_notebook(curating):
    panel = curating("plain")
    cells = panel.page.evaluate(labpage.CELLS)
    labpage.click(panel.page, panel.box.locator(".rt-line").first)
    press = panel.page.keyboard.press
    done = []
    for key, action in (("a", "keep"), ("x", "drop"), ("f", "flag"), ("Space", "skip"), ("u", "undo"), ("a", "keep")):
        press(key)
        done.append(action)
        panel.expect(*done)
    shown = panel.question()
    press("j")
    panel.wait_for(lambda: panel.question() != shown)
    press("k")
    panel.wait_for(lambda: panel.question() == shown)
    press("?")
    panel.box.locator(".rt-help").wait_for()
    press("Escape")
    panel.box.locator(".rt-help").wait_for(state="hidden")

    press("e")
    panel.area("answer").wait_for()
    panel.area("question").fill(WORDING)
    press("Control+s")
    panel.expect(*done, "edit")
    assert labpage.lines(panel.decisions)[-1]["question"] == WORDING

    press("/")
    search = panel.box.locator(".ragtune-search input")
    panel.wait_for(lambda: search.evaluate("field => field === document.activeElement"))
    panel.page.keyboard.type("add jam")  # letters that are keys elsewhere
    assert search.input_value() == "add jam"
    search.fill("")
    press("Enter")
    panel.expect(*done, "edit")
    for _ in range(2):
        for key in "ddxxzzbam0011":  # of JupyterLab's command mode: delete, cut, undo, insert, restart
            press(key)
        panel.page.wait_for_timeout(300)
        labpage.click(panel.page, panel.button("Flag (f)"))
    assert panel.page.evaluate(labpage.CELLS) == cells
    assert panel.page.locator(".jp-Dialog").count() == 0


def test_hostile_pairs_and_a_hostile_note_are_inert_in_the_panel(curating):
    panel = curating("hostile")
    assert panel.box.get_by_text("canary:").count() > 0, "the hostile text is not in the panel at all"
    panel.box.locator(".ragtune-note input").fill(NOTE)
    panel.press("Add note", "note")
    assert labpage.lines(panel.decisions)[0]["note"] == NOTE
    panel.press("Edit (e)", "note")
    panel.area("question").fill(f"Who {NOTE}?")
    panel.area("answer").fill(NOTE)
    panel.press("Save edit (Ctrl+S)", "note", "edit")
    done = ["note", "edit"]
    for _ in range(4):
        panel.press("Keep (a)", *done, "keep")
        done.append("keep")
    panel.press("Undo (u)", *done, "undo")
    for drawer in ("History", "Many at once", "Quality", "Guidelines"):
        panel.press(drawer, *done, "undo")
    assert panel.page.locator(".jp-OutputArea").locator(labpage.INJECTED).count() == 0
    assert panel.box.locator("iframe, script, link, img").count() == 0
