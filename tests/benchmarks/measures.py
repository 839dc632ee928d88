"""What `make bench` measures, but for the training. Every function returns plain numbers, in a process of its own.

Seconds say little without the machine they were taken on, so each figure has a counterpart from the same run: an empty
interpreter, the machine's own matrix product, the same work done the plain way.
"""

from __future__ import annotations

import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from ragtune_lib.records import Document
from ragtune_lib.stages import LIBRARY
from ragtune_lib.store import ROOT

JOURNAL = ROOT / "data" / "journal"
PRODUCT = (2048, 576, 1536)  # tokens x hidden size x inner size of the embedded model's feed-forward layer
NEW_TOKENS = 48  # longest answer


def imports(runs: int = 7) -> dict[str, Any]:
    """Wall seconds of `import ragtune_lib` in a new interpreter, of one that does nothing, and of the slowest module."""
    files = [path.relative_to(LIBRARY).with_suffix("") for path in LIBRARY.rglob("*.py") if path.stem != "__init__"]
    modules = sorted(".".join(file.parts) for file in files)
    each = {name: min(_wall(f"import ragtune_lib.{name}", 2)) for name in modules}
    slowest = max(modules, key=each.__getitem__)
    bare, package = _wall("pass", runs), _wall("import ragtune_lib", runs)
    return {
        "bare": min(bare),
        "bare_median": statistics.median(bare),
        "package": min(package),
        "package_median": statistics.median(package),
        "slowest_module": slowest,
        "slowest": each[slowest],
        "runs": runs,
    }


def _wall(code: str, runs: int) -> list[float]:
    seconds = []
    for _ in range(runs):
        started = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
        seconds.append(time.perf_counter() - started)
    return seconds


def ceilings() -> dict[str, Any]:
    """The machine: what it is, and how fast it multiplies matrices in both number formats."""
    import torch

    from ragtune_lib.models import compute_dtype

    cuda = torch.cuda.is_available()
    return {
        "device": torch.cuda.get_device_name() if cuda else _processor(),
        "cores": torch.get_num_threads(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "format": str(compute_dtype()).removeprefix("torch."),
        "float32": ceiling("float32"),
        "bfloat16": ceiling("bfloat16"),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def ceiling(number_format: str, seconds: float = 1.0) -> float:
    """Fastest seen product of `PRODUCT`, in 1e9 operations per second; a multiply-add is two operations.

    Args:
        number_format: name of a torch dtype.
        seconds: how long to repeat it.
    """
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    rows, inner, columns = PRODUCT
    left = torch.randn(rows, inner, device=device).to(getattr(torch, number_format))
    right = torch.randn(inner, columns, device=device).to(getattr(torch, number_format))
    best, until = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < until:
        started = time.perf_counter()
        left @ right
        if device == "cuda":
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - started)
    return 2 * rows * inner * columns / best / 1e9


def journal_documents() -> list[Document]:
    """The sample journal, without its questions."""
    from ragtune_lib.documents import read_documents

    return read_documents(JOURNAL, [JOURNAL / "questions.jsonl"])[0]


def generation(alone: int = 4, together: int = 32, plain: int = 2, shared: int = 16) -> dict[str, Any]:
    """Answers of the untuned model: in batches against one by one, and after a shared prefix against read anew.

    Args:
        alone: questions answered one by one.
        together: questions answered in batches.
        plain: questions answered with the whole journal read anew for each.
        shared: questions answered with the journal read once.

    Returns:
        Tokens per second (`alone`, `batched`, and `transformers`: the same batch by its own `generate`), seconds per question (`plain`, `prefix`; the one reading included),
        prefix_tokens, prefill (tokens read per second), same_text (how many of the `plain` answers are the same text
        both ways) and the counts.
    """
    from ragtune_lib.generate import generate
    from ragtune_lib.models import chat_prompt, load_model, load_tokenizer
    from ragtune_lib.questions import read_questions

    model, tokenizer = load_model("embedded"), load_tokenizer("embedded")
    questions = [question.question for question in read_questions(JOURNAL / "questions.jsonl")]
    prompts = [chat_prompt(tokenizer, question) for question in questions]
    generate(model, tokenizer, prompts[:1], 4, label="warm up")

    def rate(chosen: list[str], batch_tokens: int, label: str) -> float:
        counts: list[int] = []
        started = time.perf_counter()
        generate(
            model, tokenizer, chosen, NEW_TOKENS, batch_tokens=batch_tokens, label=label,
            done=lambda group, texts, found, seconds: counts.extend(found),
        )  # fmt: skip
        return sum(counts) / (time.perf_counter() - started)

    return {
        "alone": rate(prompts[:alone], 1, "one by one"),
        "batched": rate(prompts[:together], 12_000, "in batches"),
        "transformers": _by_transformers(model, tokenizer, prompts[:together]),
        "alone_n": alone,
        "batched_n": together,
        **_long_context(model, tokenizer, questions, plain, shared),
        "peak_mb": peak_mb(),
    }


def _by_transformers(model: Any, tokenizer: Any, prompts: Sequence[str]) -> float:
    """Tokens per second of transformers' own greedy generation of one batch, end tokens and what follows left out."""
    import torch

    from ragtune_lib.generate import stop_ids

    batch = tokenizer(list(prompts), return_tensors="pt", padding=True, add_special_tokens=False)
    ends, started = stop_ids(tokenizer), time.perf_counter()
    with torch.inference_mode():
        output = model.generate(
            **batch, max_new_tokens=NEW_TOKENS, do_sample=False, eos_token_id=ends, pad_token_id=tokenizer.pad_token_id
        )
    seconds = time.perf_counter() - started
    rows = output[:, batch["input_ids"].shape[1] :].tolist()
    made = sum(next((at for at, token in enumerate(row) if token in ends), len(row)) for row in rows)
    return made / seconds


def _long_context(model: Any, tokenizer: Any, questions: Sequence[str], plain: int, shared: int) -> dict[str, Any]:
    from ragtune_lib.answer import FROM_TEXT, HERE, fit_documents
    from ragtune_lib.generate import Prefix, generate
    from ragtune_lib.models import chat_prompt

    room = model.config.max_position_embeddings - NEW_TOKENS - 128  # 128: question and chat form
    told, _ = fit_documents(journal_documents(), tokenizer, room)
    whole = chat_prompt(tokenizer, FROM_TEXT.format(context=told, question=HERE))
    head, tail = whole.rsplit(HERE, 1)

    started = time.perf_counter()
    anew = generate(
        model, tokenizer, [head + q + tail for q in questions[:plain]], NEW_TOKENS, batch_tokens=1, label="read anew"
    )
    plain_seconds = time.perf_counter() - started

    started = time.perf_counter()
    prefix = Prefix(model, tokenizer, head)
    asked = [question + tail for question in questions[:shared]]
    texts = generate(model, tokenizer, asked, NEW_TOKENS, batch_tokens=6_000, label="read once", prefix=prefix)
    prefix_seconds = time.perf_counter() - started

    return {
        "plain": plain_seconds / plain,
        "prefix": prefix_seconds / shared,
        "plain_n": plain,
        "prefix_n": shared,
        "prefix_tokens": prefix.length,
        "prefill": prefix.length / prefix.seconds,
        "same_text": sum(a == b for a, b in zip(anew, texts, strict=False)),
    }


def graph_at_size(folder: Path) -> dict[str, Any]:
    """Seconds from text to described communities on a bigger corpus, and what was found.

    Args:
        folder: documents, in any form that notebook 01 reads.
    """
    from ragtune_lib.documents import chunk_documents, read_documents
    from ragtune_lib.graph.build import build_graph, detect_communities
    from ragtune_lib.graph.communities import describe_communities
    from ragtune_lib.graph.extract import extract_mentions
    from ragtune_lib.models import load_tokenizer

    tokenizer = load_tokenizer("embedded")
    times = [time.perf_counter()]
    documents, problems = read_documents(folder)
    chunks = chunk_documents(documents, tokenizer)
    times.append(time.perf_counter())
    mentions = extract_mentions(chunks)
    times.append(time.perf_counter())
    entities, relationships = build_graph(mentions, chunks)
    times.append(time.perf_counter())
    communities = describe_communities(detect_communities(entities, relationships), entities, relationships)
    times.append(time.perf_counter())
    steps = [later - earlier for earlier, later in pairwise(times)]
    return {
        **dict(zip(("read", "extract", "graph", "communities"), steps, strict=True)),
        "seconds": times[-1] - times[0],
        "words": sum(len(document.text.split()) for document in documents),
        "documents": len(documents),
        "problems": len(problems),
        "entities": len(entities),
        "relationships": len(relationships),
        "communities_n": len(communities),
        "peak_mb": peak_mb(),
    }


def peak_mb() -> int:
    """Largest resident size of this process so far, in MB."""
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3))
