"""Signatures of executed notebooks: what JupyterLab asks for before it shows graphs, tables and widgets.

A notebook that somebody else executed may hold scripts in its outputs, so JupyterLab blanks them out silently until
the user trusts it. Outputs of a run on this machine are the user's own.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path


def sign(notebook: Path) -> str:
    """Mark a notebook as executed by this user, as `jupyter trust` does; call it right after the execution only.

    The signature is of this content: whoever changes the file or gets it from somebody has to trust it anew.

    Returns:
        "" when JupyterLab will trust it, else why not: there is no home folder, a read-only one, a full disk.
    """
    import nbformat
    from nbformat.sign import NotebookNotary

    try:
        executed = nbformat.read(notebook, as_version=4)
        with NotebookNotary() as notary:
            notary.sign(executed)
        with NotebookNotary() as another:  # a notary without a file keeps signatures to itself, and says nothing
            return "" if another.check_signature(executed) else "signatures cannot be kept"
    except (OSError, sqlite3.Error) as error:
        return str(error)
