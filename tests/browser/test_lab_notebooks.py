"""Notebooks 01 to 07 in a real JupyterLab: no error, graphs and charts that are really painted, nothing that runs."""

import labpage
import pytest

from ragtune_lib.stages import STAGES

pytestmark = pytest.mark.browser
NOTEBOOKS = [stage.name for stage in STAGES]
CHARTS = {"01_documents", "03_synthesize", "04_curate", "05_finetune", "06_answer", "07_judge"}


def test_what_the_tests_listen_for_is_heard(page):
    """A canary that cannot sing, or a request that nobody sees, would make every other test worthless."""
    page.goto("about:blank")
    page.set_content(
        "<img src='http://192.0.2.1/x.png' onerror=\"console.log('canary:image')\">"
        "<iframe sandbox='allow-scripts' srcdoc=\"<script>console.log('canary:frame')</script>\"></iframe>"
        "<script>setTimeout(() => { throw new Error('heard') })</script>"
    )
    page.wait_for_timeout(1000)
    assert set(page.recorded.ran) == {"canary:image", "canary:frame"}
    assert page.recorded.outside == ["http://192.0.2.1/x.png"]
    assert page.recorded.errors == ["heard"]
    for found in (page.recorded.ran, page.recorded.outside, page.recorded.errors):
        found.clear()


@pytest.mark.parametrize("notebook", NOTEBOOKS)
def test_a_notebook_runs_through(notebook_page, lab, copy_of, notebook):
    labpage.run_notebook(notebook_page, lab, copy_of("plain"), notebook)
    notebook_page.wait_for_timeout(1500)  # charts and frames are drawn after the kernel is done
    undrawn, charts = labpage.undrawn_charts(notebook_page)
    assert (charts > 0) == (notebook in CHARTS)
    assert not undrawn
    outputs = notebook_page.locator(".jp-OutputArea")
    assert outputs.locator(labpage.INJECTED).count() == 0
    if notebook == "01_documents":
        assert outputs.get_by_text("<img src=x onerror=").count() > 0, (
            "the hostile names of documents are not shown at all"
        )
    if notebook == "02_graph":
        assert labpage.painted_pixels(notebook_page.main_frame) > 5000
