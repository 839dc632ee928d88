"""The graph explorer of notebook 02: a click on what is painted reaches Python and fills the side panel."""

import labpage
import pytest

pytestmark = pytest.mark.browser


def test_a_clicked_node_fills_the_side_panel(notebook_page, lab, copy_of):
    page, folder = notebook_page, copy_of("plain")
    labpage.run_notebook(page, lab, folder, "02_graph")
    assert labpage.painted_pixels(page.main_frame) > 5000
    heading = page.locator(".jp-OutputArea-output:has(.ragtune-canvas) .widget-tab h3:visible")
    canvas = page.locator(".ragtune-canvas")
    overview = canvas.get_attribute("aria-label")

    labpage.click_node(page, ".ragtune-canvas canvas")  # a community: its entities are drawn, its report is told
    labpage.wait_for(page, lambda: canvas.get_attribute("aria-label") != overview)
    titles = {line["title"] for line in labpage.lines(folder / "communities.jsonl")}
    labpage.wait_for(page, lambda: heading.count() and heading.first.inner_text() in titles)
    assert labpage.painted_pixels(page.main_frame) > 5000

    labpage.click_node(page, ".ragtune-canvas canvas")  # an entity: the panel shows it beside its sources
    names = {line["name"] for line in labpage.lines(folder / "entities.jsonl")}
    labpage.wait_for(page, lambda: heading.count() and heading.first.inner_text() in names)
    name = heading.first.inner_text().casefold()
    marks = page.locator(".jp-OutputArea-output:has(.ragtune-canvas) .widget-tab mark:visible")
    assert name in {mark.inner_text().casefold() for mark in marks.all()}, "named in a source"
