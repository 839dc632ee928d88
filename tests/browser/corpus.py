"""Finished runs for the browser: what the notebooks and the report are opened on.

Two runs: `plain`, all seven stages with real training steps of a student with random weights; and `hostile`, an index
whose documents, entities, relationships and communities hold whatever markup could become code, with answers to match.
Text that runs writes to the console, which the browser reports. Documents of the plain run hold such text too.

As a script it makes both: `python tests/browser/corpus.py FOLDER` (in a process of its own, so that torch is gone when
the browser starts).
"""

import shutil
import subprocess
import sys
from pathlib import Path

ENTRIES = ("2025-01-04", "2025-01-12", "2025-01-20")
MARKUP = (
    "<script>console.log('canary:script')</script>",
    "</script><script>console.log('canary:closed-script')</script>",
    "<img src=x onerror=console.log('canary:image')>",
    "\"'><svg onload=console.log('canary:svg')>",
    "<a href=\"javascript:console.log('canary:href')\" onmouseover=console.log('canary:hover')>href</a>",
    "</textarea></title></style><iframe srcdoc=\"<script>console.log('canary:frame')</script>\"></iframe>",
    "<details open ontoggle=console.log('canary:toggle')><summary>x</summary></details>",
    "<style>@import 'http://192.0.2.1/style.css';</style><link rel=stylesheet href=http://192.0.2.1/x.css>",
    "![x](http://192.0.2.1/picture.png) [link](javascript:console.log('canary:markdown'))",
    "$\\href{javascript:console.log('canary:formula')}{x}$ {{console.log('canary:template')}} ${console.log('canary:literal')} %s {0}",
    "-->]]><!--<input autofocus onfocus=console.log('canary:focus')>",
)
ODD = {
    "control": "bell \x07 escape \x1b[31m backspace \x08 form feed \x0c unit \x1f",
    "right": "\u202eevil\u202c \u05e9\u05dc\u05d5\u05dd \u0645\u0631\u062d\u0628\u0627 \u2066isolate\u2069",
    "emoji": "\U0001f469\u200d\U0001f469\u200d\U0001f467 \U0001f1e9\U0001f1ea e\u0301\u0301\u0301 line\u2028separator",
    "long": "w" * 10_000,
}
NOTE = " ".join([*MARKUP, ODD["right"], ODD["emoji"]])  # what a person may type


def documents(folder: Path) -> Path:
    """Three entries of the sample journal, and documents whose every sentence is hostile, their names too."""
    from ragtune_lib.store import ROOT

    folder.mkdir()
    for name in ENTRIES:
        shutil.copy(ROOT / "data" / "journal" / f"{name}.md", folder)
    for number, markup in enumerate(MARKUP, 1):
        text = (
            f"# {number} March 2025: Paint {markup}\n\nWren Vale painted {markup} on the wall of the Harbour House. "
            f"Ilse Brandt sold {number + 2} jars to Wren Vale beside {markup} in Oslo. It stayed there for two days.\n"
        )
        (folder / f"2025-03-{number:02} <img src=x onerror=console.log('canary:name')>.md").write_text(
            text, encoding="utf-8"
        )
    for number, (name, odd) in enumerate(ODD.items(), 1):
        text = f"# {number} April 2025: {name}\n\nWren Vale read {odd} aloud in the Harbour House for {number} hours.\n"
        (folder / f"2025-04-{number:02}.md").write_text(text, encoding="utf-8")
    return folder


def index(folder: Path) -> Path:
    """A GraphRAG index about people whose names are markup; each knows the next."""
    from ragtune_lib.documents import chunk_documents, read_documents
    from ragtune_lib.graph.graphrag_export import export_parquet
    from ragtune_lib.models import load_tokenizer
    from ragtune_lib.records import Community, Entity, Relationship, Sentence
    from ragtune_lib.store import content_id

    names = [f"Wren {text}" for text in (*MARKUP, *ODD.values())]
    source = folder.with_name(f"{folder.name}-source")
    source.mkdir()
    told = []
    for number, name in enumerate(names, 1):
        other = names[number % len(names)]
        told.append(f"{name} sold {number + 1} jars of plum jam to {other} at the harbour")
        (source / f"2025-05-{number:02}.md").write_text(f"# 5 May 2025\n\n{told[-1]}.\n", encoding="utf-8")
    corpus, _ = read_documents(source)
    chunks = chunk_documents(corpus, load_tokenizer("embedded"), 8000, 0)
    by_number = {document.id: int(document.name[8:10]) for document in corpus}
    chunk_of = {by_number[chunk.document_id]: chunk for chunk in chunks}
    entities, links = [], []
    for number, name in enumerate(names, 1):
        chunk = chunk_of[number]
        said = (Sentence(told[number - 1], chunk.id, chunk.date),)
        entities.append(Entity(f"e{number:02}", name, f"type {name}"[:80], f"About {name}.", said, (chunk.id,)))
        ends = sorted((f"e{number:02}", f"e{number % len(names) + 1:02}"))
        links.append(Relationship(content_id(*ends), *ends, 1.0 + number, f"sells to {name}", said, (chunk.id,)))
    half = len(entities) // 2
    groups = [
        Community(f"g{at}", 0, "", tuple(sorted(e.id for e in part)), f"Group {NOTE}", f"They {NOTE}", ())
        for at, part in enumerate((entities[:half], entities[half:]))
    ]
    export_parquet(folder, corpus, chunks, entities, links, groups)
    return folder


def make(folder: Path) -> None:
    """Both runs, below $RAGTUNE_OUTPUTS, by the notebooks' own cells in this process."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    import cells
    import tiny
    import torch

    from ragtune_lib import models, report
    from ragtune_lib.runfile import Run
    from ragtune_lib.stages import STAGES
    from ragtune_lib.store import run_folder

    torch.set_num_threads(1)  # a model this small is fastest so
    models.load_embedder = cells.hashed_embedder
    report.execute = cells.execute
    student = tiny.save_model(folder / "student", window=1024)
    settings = {stage: dict(values) for stage, values in SMALL.items()}
    for stage in ("01_documents", "05_finetune"):
        settings[stage]["student"] = student
    plain = Run("plain", str(documents(folder / "documents")), seed=17, notebooks=settings)
    made = {name: values for name, values in settings.items() if name < "05"}
    hostile = Run("hostile", graphrag=str(index(folder / "index")), seed=17, notebooks=made)
    failed = report.run_report(plain) or report.run_report(hostile, stages=STAGES[:4])
    write_answers(run_folder("hostile"))
    if failed or report.run_report(hostile, stages=(*STAGES[:4], STAGES[6])):
        raise SystemExit("a run failed")


def write_answers(folder: Path) -> None:
    """In the place of notebook 06: every system answers with markup."""
    from ragtune_lib.judges.reference import SYSTEMS
    from ragtune_lib.records import Answer, Question
    from ragtune_lib.store import read_records, write_records

    questions = read_records(folder / "questions.jsonl", Question)
    told = [
        Answer(question.id, system, f"{question.answer} {MARKUP[at % len(MARKUP)]} {NOTE}", (), 9, 9, 0.1)
        for at, question in enumerate(questions)
        for system in SYSTEMS
    ]
    write_records(folder / "answers.jsonl", told)


# Small as in tests/test_notebooks.py; `writer` "" leaves the packaged model out, which takes minutes.
SMALL = {
    "01_documents": {"chunk_tokens": 900, "overlap_tokens": 0},
    "03_synthesize": {"writer": "", "phrasings": 1, "global_phrasings": 2, "topic_mentions": 3, "absent": 6},
    "04_curate": {"held_out": 4},
    "05_finetune": {"backend": "peft", "rank": 2, "epochs": 0.2, "validation_facts": 8, "max_tokens": 1024},
    "06_answer": {"validation": 4, "chunk_sizes": "120", "top_ks": "1 2", "max_new_tokens": 12, "recitations": 2},
    "07_judge": {"samples": 200},
}


def finished_runs(folder: Path, environment: dict[str, str]) -> None:
    """Make both runs in a process of its own.

    Raises:
        RuntimeError: with what it printed last, if one failed.
    """
    command = [sys.executable, __file__, str(folder)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{done.stdout[-2000:]}\n{done.stderr[-4000:]}")


def parameters(folder: Path, run: str, notebook: str) -> dict[str, object]:
    """What a notebook is given so that it works on `run`, a copy of one of the runs, as `make` did."""
    from ragtune_lib.stages import parameter_types
    from ragtune_lib.store import ROOT, read_json

    state = read_json(folder / "run.json")
    given = state["parameters"][notebook] | {"run": run, "interactive": True}
    types = parameter_types(ROOT / "notebooks" / f"{notebook}.ipynb")
    return {name: value for name, value in given.items() if name in types}


if __name__ == "__main__":
    make(Path(sys.argv[1]))
