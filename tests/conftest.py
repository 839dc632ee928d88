"""What all tests share: a place for artifacts that is not the user's own."""

import pytest


@pytest.fixture(autouse=True)
def outputs(tmp_path, monkeypatch):
    """Run folders go below a temporary folder; returned for tests that look into them."""
    folder = tmp_path / "outputs"
    folder.mkdir()
    monkeypatch.setenv("RAGTUNE_OUTPUTS", str(folder))
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path / "jupyter"))  # no kernel and no signature of the user's
    return folder
