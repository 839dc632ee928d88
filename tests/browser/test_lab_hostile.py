"""Hostile documents, entities, pairs and answers in every notebook that shows them: text, and nothing else.

That no text ran, asked another host or raised an error is checked after every test by the `page` fixture.
"""

import labpage
import pytest

pytestmark = pytest.mark.browser
INJECTED = "[onerror], [onload], [onmouseover], [ontoggle], [onfocus], input[autofocus]"


@pytest.mark.parametrize("notebook", ["01_documents", "02_graph", "03_synthesize", "04_curate", "07_judge"])
def test_hostile_text_is_inert_in_a_notebook(notebook_page, lab, copy_of, notebook):
    labpage.run_notebook(notebook_page, lab, copy_of("hostile"), notebook)
    notebook_page.wait_for_timeout(1500)
    outputs = notebook_page.locator(".jp-OutputArea")
    assert outputs.get_by_text("canary:").count() > 0, "the hostile text is not shown at all"
    assert outputs.locator(INJECTED).count() == 0
    for frame in labpage.graph_frames(notebook_page):
        assert labpage.painted_pixels(frame) > 5000
        assert frame.locator(INJECTED).count() == 0
        box = frame.frame_element().bounding_box()
        for across in (0.3, 0.5, 0.7):  # tooltips show what the nodes hold
            for down in (0.3, 0.5, 0.7):
                notebook_page.mouse.move(box["x"] + box["width"] * across, box["y"] + box["height"] * down)
                notebook_page.wait_for_timeout(150)
        assert frame.locator(INJECTED).count() == 0
