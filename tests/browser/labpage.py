"""Doing things in JupyterLab: open a notebook on a run, run it, click, and see what is really painted."""

import json

import nbformat
from corpus import parameters

from ragtune_lib.store import ROOT

WAIT_MS = 120_000  # a busy machine needs long
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
# nothing of ours has these
INJECTED = "[onerror], [onload], [onmouseover], [ontoggle], [onfocus], input[autofocus], a[href^='javascript']"
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
    """Pixels of the fullest canvas of a frame, or of the page, that are not transparent, once it is in sight."""
    if frame.parent_frame:
        frame.frame_element().scroll_into_view_if_needed()
    frame.wait_for_selector("canvas", timeout=WAIT_MS)
    frame.locator("canvas").first.scroll_into_view_if_needed()
    frame.page.wait_for_timeout(500)  # the first fit and redraw come with the next frames
    return frame.evaluate(PAINTED)


def undrawn_charts(page):
    """Charts of a page that show no bar, line or point; and how many charts there are."""
    charts = page.locator(".js-plotly-plot")
    return [at for at in range(charts.count()) if not charts.nth(at).evaluate(DRAWN)], charts.count()


def wait_for(page, condition, told=str):
    """Wait until something holds.

    Raises:
        TimeoutError: if it never does, with what `told` says then.
    """
    for _ in range(WAIT_MS // 100):
        if condition():
            return
        page.wait_for_timeout(100)
    raise TimeoutError(f"never came true; {told()}")


def lines(path):
    """The JSON lines of a file, [] when it is not there."""
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    return [json.loads(line) for line in text.split("\n") if line]  # `splitlines` also splits within texts


def serious_findings(page, selector=None):
    """What axe-core calls serious or critical in the page or in a part of it: rule, what is wrong, where."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page, context=selector).response["violations"]
    return [
        (rule["id"], rule["help"], [(node["target"], node["html"][:200]) for node in rule["nodes"][:5]])
        for rule in found
        if rule["impact"] in ("serious", "critical")
    ]


PANEL = ".ragtune-panel"


class Panel:
    """The curation panel on a page, worked by mouse or by keys.

    Args:
        page: where it is shown.
        decisions: the file that it appends to.
    """

    def __init__(self, page, decisions):
        self.page, self.decisions = page, decisions
        self.box = page.locator(f"{PANEL}[tabindex]").last  # it has one as soon as it hears keys
        self.box.wait_for(timeout=WAIT_MS)

    def question(self):
        """The question that is shown, as text."""
        return self.box.locator(".rt-card .question").first.inner_text()

    def button(self, label):
        """Where to click."""
        return self.box.get_by_role("button", name=label, exact=True)

    def area(self, field):
        """The text area of a field, while somebody edits."""
        return self.box.locator(f".ragtune-field-{field} textarea")

    def actions(self):
        """What is on the disk, in order."""
        return [line["action"] for line in lines(self.decisions)]

    def press(self, label, *actions):
        """Click a button; then these are on the disk, in order, and the panel has drawn.

        Raises:
            TimeoutError: if they never are.
        """
        click(self.page, self.button(label))
        self.expect(*actions)

    def expect(self, *actions):
        """Wait until the file holds these actions, in order, and the panel has drawn."""
        self.wait_for(lambda: self.actions() == list(actions))
        self.page.wait_for_timeout(500)

    def wait_for(self, condition):
        """Wait until something holds; see `wait_for`."""
        wait_for(self.page, condition, lambda: f"on the disk: {self.actions()}")


NODE = """canvas => {
  const { width, height } = canvas, data = canvas.getContext('2d').getImageData(0, 0, width, height).data;
  const at = (x, y) => data.slice(4 * (y * width + x), 4 * (y * width + x) + 4).join();
  const coloured = (x, y) => {
    const [red, green, blue, alpha] = data.slice(4 * (y * width + x), 4 * (y * width + x) + 4);
    return alpha === 255 && Math.max(red, green, blue) - Math.min(red, green, blue) > 60;
  };
  const box = canvas.getBoundingClientRect(), scale = box.width / width;
  for (let y = 8; y < height - 8; y += 2) for (let x = 8; x < width - 8; x += 2) {
    if (!coloured(x, y)) continue;
    const here = at(x, y), around = [[5, 0], [-5, 0], [0, 5], [0, -5], [4, 4], [-4, -4], [4, -4], [-4, 4]];
    if (around.every(([dx, dy]) => at(x + dx, y + dy) === here)) return [x * scale, y * scale];
  }
  return null;
}"""


def click_node(page, selector):
    """Click the first node of a painted graph: a spot of one strong colour as wide as ten pixels."""
    canvas = page.locator(selector).first
    canvas.scroll_into_view_if_needed()
    page.wait_for_timeout(400)
    spot = canvas.evaluate(NODE)
    assert spot, "no node is painted"
    canvas.click(position={"x": spot[0], "y": spot[1]})
