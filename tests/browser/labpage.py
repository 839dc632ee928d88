"""Doing things in JupyterLab: open a notebook on a run, run it, click, and see what is really painted."""

import json

import nbformat
from corpus import parameters

from ragtune_lib.store import ROOT

WAIT_MS = 300_000  # a busy machine needs long
IDLE = """() => {
  const shown = window.jupyterapp?.shell.currentWidget, context = shown?.sessionContext, kernel = context?.session?.kernel;
  return !!(kernel && context.isReady && kernel.connectionStatus === 'connected' && kernel.status === 'idle');
}"""
ERRORS = """() => {
  const found = [];
  for (const cell of window.jupyterapp.shell.currentWidget.content.model.cells)
    for (const output of (cell.type === 'code' ? cell.toJSON().outputs : []) ?? [])
      if (output.output_type === 'error') found.push(`${output.ename}: ${output.evalue}`);
  return found;
}"""
CELLS = "() => window.jupyterapp.shell.currentWidget.content.model.cells.length"
RUN = "() => window.jupyterapp.commands.execute('notebook:run-all-cells')"
RESTART = """async () => {
  const context = window.jupyterapp.shell.currentWidget.sessionContext;
  await context.session.kernel.restart();
}"""
PAINTED = """() => Math.max(0, ...[...document.querySelectorAll('canvas')].map(canvas => {
  if (!canvas.width || !canvas.height) return 0;
  const data = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
  let painted = 0;
  for (let at = 3; at < data.length; at += 4) if (data[at]) painted++;
  return painted;
}))"""
DRAWN = """chart => {
  const shapes = chart.querySelectorAll('.main-svg path.point, .main-svg .points path, .main-svg .bars path, '
    + '.main-svg .js-line, .main-svg image, .main-svg .heatmaplayer *');
  return [...shapes].some(shape => { const box = shape.getBoundingClientRect(); return box.width + box.height > 0; });
}"""


def place(lab, folder, notebook):
    """Put a notebook into the folder that JupyterLab shows, with its parameters for a run; its name there."""
    found = nbformat.read(ROOT / "notebooks" / f"{notebook}.ipynb", as_version=4)
    at = next(at for at, cell in enumerate(found.cells) if "parameters" in cell.metadata.get("tags", []))
    lines = [f"{name} = {value!r}" for name, value in parameters(folder, folder.name, notebook).items()]
    found.cells.insert(at + 1, nbformat.v4.new_code_cell("\n".join(lines), id="given"))
    name = f"{folder.name}-{notebook}.ipynb"
    nbformat.write(found, lab.root / name)
    return name


def open_notebook(page, lab, name):
    """Open a notebook that lies in JupyterLab's folder, in a clean workspace, and wait for its kernel."""
    page.goto(f"{lab.base}/lab/tree/{name}?token={lab.token}&reset", wait_until="domcontentloaded", timeout=WAIT_MS)
    page.wait_for_selector("#jupyterlab-splash", state="detached", timeout=WAIT_MS)
    page.wait_for_selector(".jp-NotebookPanel .jp-Cell", timeout=WAIT_MS)
    page.wait_for_function(IDLE, timeout=WAIT_MS)


def run_all(page):
    """Run every cell of the notebook that is shown; its error outputs."""
    page.evaluate(RUN)
    page.wait_for_function(IDLE, timeout=WAIT_MS)
    return page.evaluate(ERRORS)


def run_notebook(page, lab, folder, notebook):
    """Open a notebook on a run and run it; no cell may end in an error."""
    open_notebook(page, lab, place(lab, folder, notebook))
    assert run_all(page) == []


def restart(page):
    """Restart the kernel of the notebook that is shown, as a person does from the menu."""
    page.evaluate(RESTART)
    page.wait_for_function(IDLE, timeout=WAIT_MS)


def click(page, locator):
    """Scroll first, let the compositor catch up, then click.

    Without the pause Chromium gives the first click after scrolling to the sandboxed frame that was there before.
    """
    locator.scroll_into_view_if_needed()
    page.wait_for_timeout(400)
    locator.click()


def graph_frames(page):
    """Frames made from `srcdoc`: the drawn graphs."""
    return [frame for frame in page.frames if frame.url == "about:srcdoc"]


def painted_pixels(frame):
    """Pixels of the fullest canvas of a frame that are not transparent, once it is in sight."""
    frame.frame_element().scroll_into_view_if_needed()
    frame.wait_for_selector("canvas", timeout=WAIT_MS)
    frame.page.wait_for_timeout(500)  # the first fit and redraw come with the next frames
    return frame.evaluate(PAINTED)


def undrawn_charts(page):
    """Charts of a page that show no bar, line or point; and how many charts there are."""
    charts = page.locator(".js-plotly-plot")
    return [at for at in range(charts.count()) if not charts.nth(at).evaluate(DRAWN)], charts.count()


def lines(path):
    """The JSON lines of a file, [] when it is not there."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.is_file() else []


def serious_findings(page, selector=None):
    """What axe-core calls serious or critical in the page or in a part of it: rule, what is wrong, where."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page, context=selector).response["violations"]
    return [
        (rule["id"], rule["help"], [(node["target"], node["html"][:200]) for node in rule["nodes"][:5]])
        for rule in found
        if rule["impact"] in ("serious", "critical")
    ]


PANEL = ".jp-OutputArea-output:has(.widget-textarea)"


class Panel:
    """The curation panel on a page, worked by mouse and keyboard.

    Args:
        page: where it is shown.
        decisions: the file that its clicks are written to.
        selector: of the element around it.
    """

    def __init__(self, page, decisions, selector=PANEL):
        self.page, self.decisions = page, decisions
        self.box = page.locator(selector).last
        self.box.wait_for(timeout=WAIT_MS)

    def area(self, label):
        """The text area with a label."""
        return self.box.locator(".widget-textarea", has_text=label).locator("textarea")

    def question(self):
        """The question that is shown."""
        return self.area("Question").input_value()

    def write(self, label, text):
        """Type a text into an area, in the place of what is there."""
        click(self.page, self.area(label))
        self.area(label).fill(text)
        self.page.keyboard.press("Tab")  # the panel hears of it when the area is left, as from a person

    def press(self, button, decisions):
        """Click a button, and wait until the file holds that many lines and the panel has drawn."""
        click(self.page, self.box.get_by_role("button", name=button, exact=True))
        self.wait_for(lambda: len(lines(self.decisions)) == decisions)
        self.page.wait_for_timeout(500)

    def wait_for(self, condition):
        """Wait until something holds.

        Raises:
            TimeoutError: if it never does.
        """
        for _ in range(WAIT_MS // 100):
            if condition():
                return
            self.page.wait_for_timeout(100)
        raise TimeoutError(f"never came true; {len(lines(self.decisions))} decisions are on disk")
