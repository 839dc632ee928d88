"""Executing a notebook's cells in this process, without kernel and without weights: what tests use for papermill."""

import re
import zlib

import nbformat
import numpy as np


def words_tokenizer(_spec="embedded"):
    """A tokenizer with a token for each word; knows what `documents.chunk_documents` asks for."""

    class Words:
        def __call__(self, texts, add_special_tokens=False, return_offsets_mapping=False, **_):
            several = not isinstance(texts, str)
            found = [list(re.finditer(r"\S+", text)) for text in (texts if several else [texts])]
            ids = [[zlib.crc32(match.group().encode()) % 50_000 for match in matches] for matches in found]
            spans = [[match.span() for match in matches] for matches in found]
            both = {"input_ids": ids, "offset_mapping": spans}
            return both if several else {name: values[0] for name, values in both.items()}

    return Words()


def hashed_embedder():
    """Texts to rows of length 1 by their words: equal texts are equal, others are not."""

    def embed(texts):
        rows = np.zeros((len(texts), 256), np.float32)
        for at, text in enumerate(texts):
            for word in re.findall(r"\w+", text.lower()):
                rows[at, zlib.crc32(word.encode()) % 256] += 1
            rows[at] /= np.linalg.norm(rows[at]) or 1
        return rows

    return embed


def execute(notebook, output, parameters):
    """In the place of `report.execute`: the cells, the parameters after the cell that has their defaults."""
    space = {"__name__": "__main__"}
    for cell in nbformat.read(notebook, as_version=4).cells:
        if cell.cell_type == "code":
            try:
                exec(compile(cell.source, f"{notebook.name}[{cell.id}]", "exec"), space)
            except Exception as error:  # noqa: BLE001  as papermill does
                return f"{type(error).__name__}: {error} in cell {cell.id}"
            if "parameters" in cell.metadata.get("tags", []):
                space |= parameters
    output.write_bytes(notebook.read_bytes())
    return ""


def without_weights(monkeypatch):
    """Let notebooks 01 to 04 and 07 run in this process and load nothing heavy."""
    from ragtune_lib import models, report

    monkeypatch.setattr(models, "load_tokenizer", words_tokenizer)
    monkeypatch.setattr(models, "load_embedder", hashed_embedder)
    monkeypatch.setattr(report, "execute", execute)
