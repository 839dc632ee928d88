"""report.html opened from its file with the network off: painted, silent, inert, and usable by everybody."""

import labpage
import pytest

pytestmark = pytest.mark.browser


@pytest.fixture
def report(finished, page):
    """Opens a run's report without a network, scrolled through once so that everything has been drawn."""

    def opened(run):
        page.context.set_offline(True)
        page.goto((finished / run / "report.html").as_uri(), timeout=labpage.WAIT_MS)
        for section in page.locator("section").all():
            section.scroll_into_view_if_needed()
            page.wait_for_timeout(150)
        return page

    return opened


@pytest.mark.parametrize("run", ["plain", "hostile"])
def test_graph_and_charts_are_painted_without_a_network(report, run):
    page = report(run)
    page.locator("iframe").first.scroll_into_view_if_needed()
    frames = labpage.graph_frames(page)
    assert frames and all(labpage.painted_pixels(frame) > 5000 for frame in frames)
    undrawn, charts = labpage.undrawn_charts(page)
    assert charts >= 3
    assert not undrawn


def test_no_text_becomes_an_element_of_the_report(report):
    """Elements that no section of the page makes, and attributes that run code, would come from the documents."""
    page = report("hostile")
    assert page.locator("main img, main svg[onload], main input, main a, main form, main link").count() == 0
    assert page.locator("main [onerror], main [onload], main [onmouseover], main [ontoggle]").count() == 0
    assert page.get_by_text("canary:image", exact=False).count() > 0, "the hostile text is not in the page at all"


@pytest.mark.parametrize("run", ["plain", "hostile"])
def test_axe_finds_nothing_serious_in_the_report(report, run):
    page = report(run)
    for folded in page.locator("details").all():
        folded.evaluate("folded => folded.open = true")
    assert labpage.serious_findings(page) == []


def test_everything_of_the_report_can_be_reached_by_keys(report):
    page = report("plain")
    page.locator("body").press("Tab")
    assert page.evaluate("() => document.activeElement.tagName") == "A", "the contents come first"
    page.keyboard.press("Enter")
    assert page.url.endswith("#verdict")
    fold = page.locator("summary").first
    fold.focus()
    page.keyboard.press("Enter")
    assert fold.evaluate("fold => fold.parentElement.open")
