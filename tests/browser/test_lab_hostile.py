"""Hostile documents, entities, pairs and answers in the notebooks that show them: text, and nothing else.

Notebook 01 is in `test_lab_notebooks`, 04 in `test_curation_in_lab`. That no text ran, asked another host or raised an error is checked after every
test by the `page` fixture.
"""

import labpage
import pytest

pytestmark = pytest.mark.browser


@pytest.mark.parametrize("notebook", ["02_graph", "03_synthesize", "07_judge"])
def test_hostile_text_is_inert_in_a_notebook(notebook_page, lab, copy_of, notebook):
    labpage.run_notebook(notebook_page, lab, copy_of("hostile"), notebook)
    notebook_page.wait_for_timeout(1500)
    outputs = notebook_page.locator(".jp-OutputArea")
    assert outputs.get_by_text("canary:").count() > 0, "the hostile text is not shown at all"
    assert outputs.locator(labpage.INJECTED).count() == 0
    if notebook == "02_graph":
        look_around(notebook_page)
        assert outputs.locator(labpage.INJECTED).count() == 0


def look_around(page):
    """Point at the graph here and there, so that tooltips show what nodes and lines hold."""
    assert labpage.painted_pixels(page.main_frame) > 5000
    box = page.locator(".ragtune-canvas canvas").bounding_box()
    for across in range(1, 8):
        for down in range(1, 8):
            page.mouse.move(box["x"] + box["width"] * across / 8, box["y"] + box["height"] * down / 8)
            page.wait_for_timeout(60)
