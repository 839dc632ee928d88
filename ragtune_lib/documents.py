"""Documents: a folder of files becomes texts, texts become chunks that are exact spans of them.

What cannot be read becomes a `Problem` with file, reason and way out; nothing is dropped silently.
"""

from __future__ import annotations

import json
import os
import re
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

from ragtune_lib.records import Chunk, Document, Problem
from ragtune_lib.store import content_id
from ragtune_lib.text import date_of, sentence_spans

STAGE = "documents"
SUFFIXES = (".txt", ".md", ".jsonl", ".pdf", ".docx", ".html", ".htm")
BLOCKS = (
    "p", "div", "section", "article", "li", "ul", "ol", "table", "tr", "td", "th", "blockquote", "pre", "h1", "h2",
    "h3", "h4", "h5", "h6", "header", "footer", "main", "dt", "dd",
)  # fmt: skip
TITLE_LENGTH = 80  # characters; a longer first line is a paragraph, not a title


@dataclass(frozen=True, slots=True)
class _Draft:
    """A text with what its file says about it, before it is a Document."""

    name: str
    text: str
    title: str = ""
    date: str = ""


def read_documents(folder: Path, exclude: Sequence[Path] = ()) -> tuple[list[Document], list[Problem]]:
    """Read every document below a folder, sorted by path.

    Read are .txt and .md (as they are), .jsonl (one document per row: `id` and `text`, optional `title` and `date`),
    .pdf, .docx and .html. Left out without a word: hidden files and folders, `README.*` (it speaks about the folder,
    it is not part of it) and the paths in `exclude`. Links that lead out of the folder are not followed.
    Texts are kept as written, but for the byte order mark, NUL characters and line ends, which become single newlines.

    Args:
        folder: where the documents lie, in any depth.
        exclude: files that are no documents, e.g. a questions file in the same folder; missing ones do no harm.

    Returns:
        The documents, and one Problem for each file or row that gave none: not UTF-8, empty, the same text twice,
        unknown suffix, unreadable.

    Raises:
        ValueError: if the folder is missing or no document can be read in it; says what would be read.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ValueError(f"{folder} is no folder: put your documents ({', '.join(SUFFIXES)}) in a folder and name it")
    documents: list[Document] = []
    problems: list[Problem] = []
    by_text: dict[str, str] = {}
    taken: set[str] = set()
    for draft in _drafts(folder, {Path(path).resolve() for path in exclude}):
        try:
            if isinstance(draft, Problem):
                raise ValueError(draft.reason)
            document = _document(draft)
            if document.text in by_text:
                raise ValueError(f"duplicate of {by_text[document.text]}")
            if document.name in taken:
                raise ValueError("this id occurs twice in its file; give each row an id of its own")
        except ValueError as error:
            item = draft.item if isinstance(draft, Problem) else draft.name
            problems.append(Problem(STAGE, _printable(item), str(error)))
            continue
        documents.append(document)
        by_text[document.text] = document.name
        taken.add(document.name)
    if not documents:
        found = "; ".join(f"{problem.item}: {problem.reason}" for problem in problems[:5]) or "it is empty"
        raise ValueError(f"no document can be read in {folder} ({found}); supported are {', '.join(SUFFIXES)}")
    return documents, problems


def _drafts(folder: Path, exclude: set[Path]) -> Iterator[_Draft | Problem]:
    for path in _files(folder):
        name = path.relative_to(folder).as_posix()
        if path.resolve() in exclude:
            continue
        if not path.resolve().is_relative_to(folder.resolve()):
            yield Problem(STAGE, name, "a link that leads out of the folder; copy the file into the folder instead")
        elif path.is_dir():
            yield Problem(STAGE, name, "a link to a folder; links to folders are not followed")
        elif path.suffix.lower() not in SUFFIXES:
            yield Problem(STAGE, name, f"unknown kind of file {path.suffix!r}; supported are {', '.join(SUFFIXES)}")
        else:
            yield from _read_file(path, name)


def _files(folder: Path) -> list[Path]:
    """Files and links to folders, sorted by path; links to folders are named but not entered."""
    found = []
    for parent, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        links = [name for name in folders if Path(parent, name).is_symlink()]
        visible = (name for name in files if not name.startswith(".") and Path(name).stem.lower() != "readme")
        found += [Path(parent, name) for name in (*visible, *links)]
    return sorted(found, key=lambda path: path.relative_to(folder).as_posix())


def _read_file(path: Path, name: str) -> list[_Draft | Problem]:
    try:
        if not path.is_file():
            raise ValueError("not a plain file")
        data = path.read_bytes()
        if not data.strip():
            raise ValueError("the file is empty")
        kind = path.suffix.lower()
        if kind in (".pdf", ".docx"):
            return [_Draft(name, _pdf_text(data) if kind == ".pdf" else _docx_text(data))]
        text = _decode(data)
        if kind == ".jsonl":
            return list(_rows(text, name))
        return [_Draft(name, _html_text(text) if kind in (".html", ".htm") else text)]
    except (OSError, ValueError) as error:
        return [Problem(STAGE, name, str(error))]


def _decode(data: bytes) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"not UTF-8 at byte {error.start}: save it as UTF-8 in an editor, or use iconv -f WINDOWS-1252 -t UTF-8"
        ) from error


def _rows(text: str, name: str) -> Iterator[_Draft | Problem]:
    for number, line in enumerate(text.split("\n"), 1):  # splitlines() would also split at U+2028 inside a text
        if line.strip():
            try:
                yield _row(json.loads(line), name)
            except (ValueError, RecursionError) as error:
                yield Problem(STAGE, f"{name}, line {number}", f"{error}; needed is an object with `id` and `text`")


def _row(row: Any, name: str) -> _Draft:
    if not isinstance(row, dict):
        raise ValueError(f"expected an object, got {type(row).__name__}")
    if not isinstance(row.get("id"), str | int) or not str(row["id"]).strip():
        raise ValueError("`id` is missing or no text")
    if not isinstance(row.get("text"), str):
        raise ValueError("`text` is missing or no text")
    day = row.get("date") or ""
    if day and not date_of(str(day)):
        raise ValueError(f"`date` {day!r} is no date: write YYYY-MM-DD or leave it out")
    return _Draft(f"{name}#{row['id']}", row["text"], str(row.get("title") or ""), date_of(str(day)))


def _pdf_text(data: bytes) -> str:
    from pypdf import PdfReader

    try:
        pages = [page.extract_text() for page in PdfReader(BytesIO(data)).pages]
    except Exception as error:  # a broken PDF fails in pypdf with errors of every kind
        raise ValueError(f"unreadable PDF: {error or type(error).__name__}") from error
    text = "\n\n".join(pages)
    if not text.strip():
        raise ValueError("the PDF holds no text, perhaps scanned pages; run text recognition (OCR) on it first")
    return text


def _docx_text(data: bytes) -> str:
    import docx

    try:
        content = docx.Document(BytesIO(data)).iter_inner_content()
        return "\n\n".join(_docx_block(block) for block in content)
    except Exception as error:  # zip, XML and key errors alike mean: not a readable .docx
        raise ValueError(f"unreadable .docx: {error or type(error).__name__}") from error


def _docx_block(block: Any) -> str:
    if hasattr(block, "rows"):
        return "\n".join(" | ".join(cell.text for cell in row.cells) for row in block.rows)
    heading = block.style is not None and (block.style.name or "").startswith(("Heading", "Title"))
    return f"# {block.text}" if heading and block.text.strip() else block.text


def _html_text(markup: str) -> str:
    """Visible text of a page: paragraphs apart, headings with a leading '#', scripts and styles dropped."""
    from bs4 import BeautifulSoup, NavigableString

    try:
        soup = BeautifulSoup(markup, "html.parser")
        for tag in soup(["script", "style", "template", "noscript", "head"]):
            tag.decompose()
        for tag in soup("br"):
            tag.replace_with("\0")  # survives the folding of blanks below
        parts, last = [], None
        for node in soup.find_all(string=True):
            if type(node) is not NavigableString:  # comments and doctypes are subclasses and never shown
                continue
            block = node.find_parent(list(BLOCKS))
            if block is not last and node.strip():
                parts.append("\n\n# " if block is not None and re.fullmatch("h[1-6]", block.name) else "\n\n")
                last = block
            parts.append(re.sub(r"\s+", " ", node))
        text = "".join(parts).replace("\0", "\n")
    except RecursionError as error:
        raise ValueError("unreadable HTML: its tags are nested too deeply") from error
    lines = (line.strip() for line in text.split("\n"))
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()


def _document(draft: _Draft) -> Document:
    text = draft.text.replace("\r\n", "\n").replace("\r", "\n").replace("\0", "").removeprefix("\ufeff")
    if not text.strip():
        raise ValueError("the text is empty")
    try:
        (text + draft.name + draft.title).encode()
    except UnicodeEncodeError as error:
        raise ValueError("text or name holds half a character (a lone surrogate), which UTF-8 cannot store") from error
    title = " ".join(draft.title.split()) or _title(text) or re.split(r"[/#]", draft.name)[-1].rsplit(".", 1)[0]
    return Document(
        id=content_id(draft.name, text),
        name=draft.name,
        title=title,
        text=text,
        date=draft.date or date_of(draft.name) or date_of(title),
    )


def _title(text: str) -> str:
    """First Markdown heading, else the first line, when it is short enough to be a title; else ""."""
    heading = re.search(r"^#{1,6}[ \t]+(\S.*?)[ \t#]*$", text, re.MULTILINE)
    line = heading.group(1) if heading else text.strip().split("\n", 1)[0].strip()
    return line if len(line) <= TITLE_LENGTH else ""


def _printable(name: str) -> str:
    """A name that can be written: bytes of a file name that are no UTF-8 become escapes."""
    return name.encode("utf-8", "backslashreplace").decode()


def chunk_documents(documents: Sequence[Document], tokenizer: Any, size: int = 500, overlap: int = 100) -> list[Chunk]:
    """Cut documents into overlapping windows of tokens, each an exact span of its text.

    The windows of a document cover it whole. A window ends at a sentence's end where one lies in its last quarter,
    and the next begins at a sentence's start where one lies in the overlap: half a sentence is no evidence. So
    `size` and `overlap` are upper bounds. A document no longer than `size` gives one chunk, its whole text.

    Args:
        documents: texts to cut.
        tokenizer: a fast tokenizer of Hugging Face (it must give `offset_mapping`), of the model that will read them.
        size: most tokens in a window, at least 1. Default 500, as in the paper (RAG-Tuned-LLM).
        overlap: most tokens that neighbours share, 0 <= overlap < size. Default 100, as in the paper.

    Returns:
        Chunks in reading order, each with `chunk.text == document.text[chunk.start:chunk.end]`.

    Raises:
        ValueError: if `size` or `overlap` is out of range.
    """
    if size < 1 or not 0 <= overlap < size:
        raise ValueError(f"need size >= 1 and 0 <= overlap < size, got size={size}, overlap={overlap}")
    chunks = []
    for document in documents:
        offsets = tokenizer(document.text, return_offsets_mapping=True, add_special_tokens=False)["offset_mapping"]
        for start, end in _windows(document.text, [first for first, _ in offsets], size, overlap):
            chunk_id = content_id(document.id, start, end)
            chunks.append(Chunk(chunk_id, document.id, start, end, document.text[start:end], document.date))
    return chunks


def _windows(text: str, starts: list[int], size: int, overlap: int) -> Iterator[tuple[int, int]]:
    """Character spans of the windows; `starts` holds the character at which each token begins, ascending."""
    if len(starts) <= size:
        yield 0, len(text)
        return
    bounds = sorted({bisect_left(starts, end) for _, end in sentence_spans(text)})  # tokens that begin a sentence
    first, begin, reached = 0, 0, 0
    while first + size < len(starts):
        last = _latest(bounds, first + max(size * 3 // 4, overlap) + 1, first + size) or first + size
        if starts[last] > reached:  # one character may be several tokens, so a window may hold nothing new
            reached = starts[last]
            yield begin, reached
        following = max(first + 1, last - overlap)
        first = _earliest(bounds, following, last - 1) or following
        begin = starts[first]
    yield begin, len(text)


def _latest(bounds: list[int], low: int, high: int) -> int:
    """Largest bound in low..high, 0 when there is none."""
    found = bisect_left(bounds, high + 1) - 1
    return bounds[found] if found >= 0 and bounds[found] >= low else 0


def _earliest(bounds: list[int], low: int, high: int) -> int:
    """Smallest bound in low..high, 0 when there is none."""
    found = bisect_left(bounds, low)
    return bounds[found] if found < len(bounds) and bounds[found] <= high else 0
