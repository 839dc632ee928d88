"""Notebooks that `ragtune report` executed, opened in JupyterLab: shown as they are, unless somebody changed them."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import labpage
import nbformat
import pytest
from corpus import parameters

from ragtune_lib.store import ROOT

pytestmark = pytest.mark.browser
EXECUTE = """
import json, sys
from pathlib import Path
from ragtune_lib.report import execute
failure = execute(Path(sys.argv[1]), Path(sys.argv[2]), json.loads(sys.argv[3]))
sys.exit(failure or 0)
"""
TRUSTED = """() => [...window.jupyterapp.shell.currentWidget.content.model.cells]
  .filter(cell => cell.type === 'code').every(cell => cell.trusted)"""


@pytest.fixture(scope="module")
def executed(lab, finished):
    """Notebook 02 as `ragtune report` executes it, by papermill, within JupyterLab's folder."""
    folder = Path(shutil.copytree(finished / "plain", finished / "executed"))
    output = lab.root / f"{folder.name}-executed.ipynb"
    notebook = ROOT / "notebooks" / "02_graph.ipynb"
    values = parameters(folder, folder.name, "02_graph") | {"interactive": False}
    command = [sys.executable, "-c", EXECUTE, str(notebook), str(output), json.dumps(values)]
    done = subprocess.run(command, env=lab.environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-4000:]
    return output


def test_an_executed_notebook_is_trusted_and_its_graph_is_painted(notebook_page, lab, executed):
    labpage.open_notebook(notebook_page, lab, executed.name)
    assert notebook_page.evaluate(TRUSTED)
    notebook_page.wait_for_selector("iframe", timeout=labpage.WAIT_MS)
    frames = labpage.graph_frames(notebook_page)
    assert frames and all(labpage.painted_pixels(frame) > 5000 for frame in frames)


def test_a_notebook_that_somebody_changed_is_not_trusted(notebook_page, lab, executed):
    """Else the test above would pass where JupyterLab trusts whatever it opens."""
    changed = nbformat.read(executed, as_version=4)
    changed.cells[-1].source += "\n\nA word from somebody else."
    nbformat.write(changed, lab.root / "changed.ipynb")
    labpage.open_notebook(notebook_page, lab, "changed.ipynb")
    assert not notebook_page.evaluate(TRUSTED)
    assert labpage.graph_frames(notebook_page) == []
