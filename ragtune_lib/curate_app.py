"""`ragtune curate`: the curation panel as a page of its own, for a colleague who does not use notebooks.

voila serves a notebook of one cell, which shows the panel of a run. It listens on 127.0.0.1 alone and answers nobody
without the token in the URL that is printed. The page shows no code, runs none that is sent to it, gives out no file,
and may load nothing from other hosts. Each opened page has a kernel of its own; decisions are on the disk before the
screen changes, so a closed page loses none.
"""

from __future__ import annotations

import os
import secrets
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from ragtune_lib.curation.events import decisions_file
from ragtune_lib.records import Chunk, Entity, Flag, QAPair, Relationship
from ragtune_lib.stages import writer_of
from ragtune_lib.store import read_records, run_path

if TYPE_CHECKING:
    from ragtune_lib.panel import CurationPanel

RUN, REVIEWER = "RAGTUNE_CURATE_RUN", "RAGTUNE_CURATE_REVIEWER"  # how the kernel is told; no text becomes code
READ = {
    "pairs": QAPair, "flags": Flag, "chunks": Chunk, "entities": Entity,
    "relationships": Relationship,
}  # fmt: skip
CELL = "from ragtune_lib.curate_app import shown_panel\n\nshown_panel()"
# what voila's own templates ask of other hosts (an icon font) is not asked; scripts of the page are inline
POLICY = (
    "default-src 'self' data: blob: 'unsafe-inline' 'unsafe-eval'; frame-ancestors 'self'; "
    "form-action 'self'; base-uri 'self'"
)
HEADERS = {"Content-Security-Policy": POLICY, "Referrer-Policy": "no-referrer", "X-Content-Type-Options": "nosniff"}


def check(run: str, reviewer: str = "") -> Path:
    """See whether a run can be curated.

    Args:
        run: name of its folder.
        reviewer: who decides; "" where only one person does.

    Returns:
        The run folder.

    Raises:
        ValueError: for a name that could be none of a folder or of a file.
        FileNotFoundError: if the run or an artifact is missing; says what to do first.
    """
    folder = run_path(run)
    decisions_file(folder, reviewer)
    if not folder.is_dir():
        others = sorted(path.name for path in folder.parent.glob("*/") if not path.name.startswith("."))
        known = f"; there are: {', '.join(others)}" if others else ""
        raise FileNotFoundError(f"there is no run {run!r} in {folder.parent}{known}")
    missing = {writer_of(f"{name}.jsonl"): name for name in READ if not (folder / f"{name}.jsonl").is_file()}
    if missing:
        stage = min(missing)  # those after it need it too
        told = f"run {run!r} has no {missing[stage]} yet: run notebook {stage} first, or `ragtune report` for all"
        raise FileNotFoundError(told)
    return folder


def shown_panel() -> CurationPanel:
    """The panel of the run and the reviewer that the environment names; what the page's one cell shows."""
    from ragtune_lib.curate import Curation
    from ragtune_lib.curation.neighbourhood import Neighbourhoods
    from ragtune_lib.panel import CurationPanel

    reviewer = os.environ.get(REVIEWER, "")
    folder = check(os.environ[RUN], reviewer)
    read = {name: read_records(folder / f"{name}.jsonl", kind) for name, kind in READ.items()}
    pairs, flags, chunks, *graph = read.values()
    return CurationPanel(Curation(folder, pairs, flags, reviewer, chunks), chunks, Neighbourhoods(*graph))


def serve(run: str, reviewer: str, say: Callable[[str], object]) -> int:
    """Serve the panel of a run until Ctrl+C (or SIGTERM).

    Args:
        run: name of its folder.
        reviewer: name written into each decision.
        say: told the URL with its token once the server listens, and how it ended.

    Returns:
        0.

    Raises:
        ValueError, FileNotFoundError: see `check`; nothing is served then.
    """
    folder = check(run, reviewer)
    os.environ |= {RUN: run, REVIEWER: reviewer}  # inherited by the kernels
    with tempfile.TemporaryDirectory(prefix="ragtune-curate-") as place:
        notebook = Path(place) / f"Curation of {run}.ipynb"
        _write_notebook(notebook)
        _serve(notebook, folder, say)
    say(f"ended; every decision is in {decisions_file(folder, reviewer)}. `ragtune report` trains on what is decided.")
    return 0


def _write_notebook(path: Path) -> None:
    import nbformat

    cell = nbformat.v4.new_code_cell(CELL, id="0")
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    nbformat.write(nbformat.v4.new_notebook(cells=[cell], metadata=kernel), path)


def _serve(notebook: Path, folder: Path, say: Callable[[str], object]) -> None:
    import logging

    from tornado.ioloop import IOLoop
    from voila.app import Voila

    token = secrets.token_urlsafe(24)  # made here: on a command line every user of the machine could read it
    app = Voila(config_file_paths=[], log_level=logging.WARNING)  # no voila.py of the folder where it was called
    app.initialize([str(notebook)])
    app.ip, app.port, app.token, app.open_browser = "127.0.0.1", _free_port(), token, False
    app.tornado_settings = {"headers": HEADERS}
    served = app.voila_configuration
    served.file_allowlist = []
    served.allow_template_override = served.allow_theme_override = "NO"
    told = "Open this in a browser; whoever has the address can decide. Ctrl+C ends it."
    IOLoop.current().add_callback(
        lambda: say(f"pairs of {folder}\n{told}\n\n    http://127.0.0.1:{app.port}/?token={token}\n")
    )
    app.start()


def _free_port() -> int:
    """A port that is free now; voila takes another one near it should that change."""
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
