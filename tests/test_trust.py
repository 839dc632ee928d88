"""Signatures of executed notebooks, with real files and a real place that cannot be written."""

import nbformat
import pytest
from nbformat.sign import NotebookNotary

from ragtune_lib import report
from ragtune_lib.trust import sign


@pytest.fixture
def notebook(tmp_path):
    path = tmp_path / "executed.ipynb"
    output = nbformat.v4.new_output("display_data", {"text/html": "<b>graph</b>"})
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1", outputs=[output])]), path)
    return path


def trusted(path):
    with NotebookNotary() as notary:
        return notary.check_signature(nbformat.read(path, as_version=4))


def test_a_signed_notebook_is_trusted_until_it_is_changed(notebook):
    assert not trusted(notebook)
    assert sign(notebook) == ""
    assert trusted(notebook)
    notebook.write_text(notebook.read_text().replace("<b>graph", "<b onclick='x()'>graph"))
    assert not trusted(notebook)


def test_signing_one_notebook_trusts_no_other(notebook, tmp_path):
    other = tmp_path / "other.ipynb"
    other.write_text(notebook.read_text().replace("graph", "another"))
    assert sign(notebook) == ""
    assert not trusted(other)


def test_where_no_signature_can_be_kept_the_run_goes_on_with_a_word(notebook, tmp_path, monkeypatch, capfd):
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path / "file" / "data"))
    assert "file" in sign(notebook)
    report._trust(notebook)
    assert f"jupyter trust {notebook}" in capfd.readouterr().out
