"""The curation panel in JupyterLab, by mouse: what a click writes, what a restart finds again, what a text may not do."""

import labpage
import pytest
from corpus import NOTE

from ragtune_lib.records import QAPair
from ragtune_lib.store import read_records

pytestmark = pytest.mark.browser


@pytest.fixture
def curating(notebook_page, lab, copy_of):
    """Opens notebook 04 on a copy of a run and runs it; gives the panel and the folder of the copy."""

    def opened(run):
        folder = copy_of(run)
        labpage.run_notebook(notebook_page, lab, folder, "04_curate")
        return labpage.Panel(notebook_page, folder / "decisions.jsonl"), folder

    return opened


def test_keep_drop_edit_and_undo_are_on_disk_and_a_restarted_kernel_goes_on(curating):
    panel, folder = curating("plain")
    questions = {pair.question for pair in read_records(folder / "pairs.jsonl", QAPair)}
    first = panel.question()
    assert first in questions
    panel.press("Keep", decisions=1)
    second = panel.question()
    assert second != first
    panel.press("Drop", decisions=2)
    panel.write("Question", "Who painted the wall of the Harbour House?")
    panel.press("Save edit", decisions=3)
    panel.press("Undo", decisions=4)
    actions = [line["action"] for line in labpage.lines(panel.decisions)]
    assert actions == ["keep", "drop", "edit", "undo"]
    assert labpage.lines(panel.decisions)[2]["question"] == "Who painted the wall of the Harbour House?"
    panel.press("Keep", decisions=5)
    shown = panel.question()

    labpage.restart(panel.page)
    assert labpage.run_all(panel.page) == []
    panel.wait_for(lambda: panel.question() == shown)
    panel.press("Undo", decisions=6)
    last = labpage.lines(panel.decisions)
    assert (last[5]["action"], last[5]["pair_id"]) == ("undo", last[4]["pair_id"])
    panel.press("Undo", decisions=7)
    assert labpage.lines(panel.decisions)[6]["pair_id"] == last[1]["pair_id"], "the drop before the restart"


def test_hostile_pairs_and_a_hostile_note_are_inert_in_the_panel(curating):
    panel, _ = curating("hostile")
    assert panel.box.get_by_text("canary:").count() > 0, "the hostile text is not in the panel at all"
    panel.write("Note", NOTE)
    panel.press("Note", decisions=1)
    assert labpage.lines(panel.decisions)[0]["note"] == NOTE
    panel.write("Question", f"Who {NOTE}?")
    panel.write("Answer", NOTE)
    panel.press("Save edit", decisions=2)
    for count in range(3, 9):
        panel.press("Keep", decisions=count)
    panel.press("Undo", decisions=9)
    assert panel.box.locator("[onerror], [onload], [onmouseover], [ontoggle], [onfocus]").count() == 0
    assert panel.box.locator("iframe, script, link, details[ontoggle]").count() == 0


def test_axe_finds_nothing_serious_in_the_panel(curating):
    panel, _ = curating("plain")
    assert labpage.serious_findings(panel.page, labpage.PANEL) == []
