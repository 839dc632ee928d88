import json
import re

import pytest

from ragtune_lib.documents import chunk_documents, read_documents
from ragtune_lib.records import Document


def read_one(tmp_path, name, content):
    (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_documents(tmp_path)


def reasons(problems):
    return {problem.item: problem.reason for problem in problems}


def test_texts_are_read_in_order_of_their_path_with_title_and_date(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "b.txt").write_text("9 March 2025\nRain again.")
    (tmp_path / "2025-01-06.md").write_text("# Snow\n\nIt fell.")
    (tmp_path / "sub" / "a.txt").write_text("x" * 100)
    documents, problems = read_documents(tmp_path)
    assert [(d.name, d.title, d.date) for d in documents] == [
        ("2025-01-06.md", "Snow", "2025-01-06"),
        ("b.txt", "9 March 2025", "2025-03-09"),
        ("sub/a.txt", "a", ""),
    ]
    assert problems == []


def test_hidden_readme_and_excluded_files_are_left_out_without_a_problem(tmp_path):
    (tmp_path / ".git").mkdir()
    for name in (".git/config.txt", ".hidden.md", "README.md", "questions.jsonl", "kept.txt"):
        (tmp_path / name).write_text(f"text of {name}")
    documents, problems = read_documents(tmp_path, [tmp_path / "questions.jsonl", tmp_path / "missing"])
    assert [d.name for d in documents] == ["kept.txt"]
    assert problems == []


def test_line_ends_byte_order_mark_and_nul_are_cleaned(tmp_path):
    documents, _ = read_one(tmp_path, "a.txt", b"\xef\xbb\xbfone\r\ntwo\rth\0ree")
    assert documents[0].text == "one\ntwo\nthree"


def test_what_cannot_be_read_is_a_problem_that_names_file_and_reason(tmp_path):
    (tmp_path / "a.txt").write_text("Good text.")
    (tmp_path / "b.txt").write_text("Good text.")
    (tmp_path / "empty.md").write_text(" \n")
    (tmp_path / "latin.txt").write_bytes("caf\u00e9".encode("latin-1"))
    (tmp_path / "broken.pdf").write_bytes(b"%PDF-1.4 nothing here")
    (tmp_path / "broken.docx").write_bytes(b"no zip")
    (tmp_path / "picture.png").write_bytes(b"\x89PNG")
    documents, problems = read_documents(tmp_path)
    found = reasons(problems)
    assert [d.name for d in documents] == ["a.txt"]
    assert found["b.txt"] == "duplicate of a.txt"
    assert "empty" in found["empty.md"]
    assert "not UTF-8 at byte 3" in found["latin.txt"]
    assert "unreadable PDF" in found["broken.pdf"]
    assert "unreadable .docx" in found["broken.docx"]
    assert "unknown kind of file '.png'" in found["picture.png"]
    assert len(found) == 6


def test_rows_of_a_jsonl_file_are_documents_and_each_bad_row_is_one_problem(tmp_path):
    rows = [
        json.dumps(
            {"id": 1, "text": "A line\u2028separator.", "title": "First", "date": "2025-02-03"}, ensure_ascii=False
        ),
        '{"id": "cut", "te',
        json.dumps({"id": "no text"}),
        json.dumps(["no object"]),
        json.dumps({"id": 1, "text": "Another text."}),
        json.dumps({"id": "d", "text": "Dated badly.", "date": "soon"}),
        json.dumps({"id": "half", "text": "\ud800"}),
    ]
    documents, problems = read_one(tmp_path, "rows.jsonl", "\n".join(rows))
    assert [(d.name, d.title, d.date) for d in documents] == [("rows.jsonl#1", "First", "2025-02-03")]
    found = reasons(problems)
    assert {"rows.jsonl, line 2", "rows.jsonl, line 3", "rows.jsonl, line 4", "rows.jsonl, line 6"} < set(found)
    assert "twice" in found["rows.jsonl#1"]
    assert "surrogate" in found["rows.jsonl#half"]
    assert len(documents) + len(problems) == len(rows)


def test_html_gives_visible_text_with_paragraphs_apart(tmp_path):
    page = (
        "<html><head><title>t</title><style>p{}</style></head><body><h1>The boat</h1><script>alert(1)</script>"
        "<!-- hidden --><p>It is <b>red</b>,\n we think.</p><p>Second<br>line.</p></body></html>"
    )
    documents, _ = read_one(tmp_path, "page.html", page)
    assert documents[0].text == "# The boat\n\nIt is red, we think.\n\nSecond\nline."
    assert documents[0].title == "The boat"


def test_deeply_nested_html_is_a_problem_or_a_document_but_no_crash(tmp_path):
    (tmp_path / "a.txt").write_text("Good.")
    documents, problems = read_one(tmp_path, "deep.html", "<div>" * 20_000 + "text")
    assert len(documents) + len(problems) == 2


def test_docx_paragraphs_headings_and_tables_are_read(tmp_path):
    import docx

    file = docx.Document()
    file.add_heading("Notes", level=1)
    file.add_paragraph("Ilse baked bread.")
    file.add_table(1, 2).rows[0].cells[0].text = "cell"
    file.save(tmp_path / "notes.docx")
    documents, _ = read_documents(tmp_path)
    assert documents[0].text.startswith("# Notes\n\nIlse baked bread.\n\ncell | ")
    assert documents[0].title == "Notes"


def pdf_with(text):
    """A PDF of one page, written by hand; pypdf rebuilds the missing cross references."""
    stream = f"BT /F1 12 Tf 20 100 Td ({text}) Tj ET"
    return (
        "%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\n2 0 obj<</Type/Pages/Kids[3 0 R]/Count 1>>endobj\n"
        "3 0 obj<</Type/Page/Parent 2 0 R/MediaBox[0 0 300 200]/Contents 4 0 R/Resources<</Font<</F1 5 0 R>>>>>>endobj\n"
        f"4 0 obj<</Length {len(stream)}>>stream\n{stream}\nendstream endobj\n"
        "5 0 obj<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>endobj\ntrailer<</Root 1 0 R>>\nstartxref\n0\n%%EOF"
    )


def test_pdf_text_is_read_and_a_page_without_text_is_a_problem(tmp_path):
    (tmp_path / "scan.pdf").write_text(pdf_with(""))
    documents, problems = read_one(tmp_path, "letter.pdf", pdf_with("The harbour froze."))
    assert [d.text.strip() for d in documents] == ["The harbour froze."]
    assert "OCR" in reasons(problems)["scan.pdf"]


def test_links_out_of_the_folder_are_not_followed(tmp_path):
    inside = tmp_path / "inside"
    (tmp_path / "secret").mkdir()
    inside.mkdir()
    (tmp_path / "secret" / "key.txt").write_text("secret")
    (inside / "a.txt").write_text("Good.")
    (inside / "key.txt").symlink_to(tmp_path / "secret" / "key.txt")
    (inside / "folder").symlink_to(tmp_path / "secret")
    documents, problems = read_documents(inside)
    assert [d.text for d in documents] == ["Good."]
    assert {problem.item for problem in problems} == {"key.txt", "folder"}


@pytest.mark.parametrize("make", [lambda p: p / "missing", lambda p: p], ids=["missing", "empty"])
def test_a_folder_without_documents_is_an_error_with_the_way_out(tmp_path, make):
    with pytest.raises(ValueError, match=r"\.txt, \.md, \.jsonl"):
        read_documents(make(tmp_path))


def test_the_error_for_a_folder_of_unreadable_files_names_them(tmp_path):
    with pytest.raises(ValueError, match=r"photo\.jpg: unknown kind"):
        read_one(tmp_path, "photo.jpg", "x")


def by_words(text, return_offsets_mapping, add_special_tokens):
    """Stand-in tokenizer: one token per word."""
    return {"offset_mapping": [word.span() for word in re.finditer(r"\S+", text)]}


def by_bytes(text, return_offsets_mapping, add_special_tokens):
    """Stand-in tokenizer: one token per UTF-8 byte, so one character may be several tokens."""
    return {"offset_mapping": [(i, i + 1) for i, sign in enumerate(text) for _ in sign.encode()]}


def a_document(text):
    return Document("d", "d.txt", "d", text, "2025-01-01")


@pytest.mark.parametrize("tokenizer", [by_words, by_bytes])
@pytest.mark.parametrize(("size", "overlap"), [(1, 0), (4, 3), (7, 2), (20, 5), (20, 19), (40, 0)])
def test_chunks_are_exact_spans_and_cover_the_document(tokenizer, size, overlap):
    text = (
        "  \u00c9t\u00e9 was hot. We swam \u2600\ufe0f daily!\n\n"
        + "A sentence of some words, and more. " * 9
        + "End\n"
    )
    chunks = chunk_documents([a_document(text)], tokenizer, size, overlap)
    covered = set()
    for chunk in chunks:
        assert chunk.text == text[chunk.start : chunk.end] != ""
        covered.update(range(chunk.start, chunk.end))
    assert covered == set(range(len(text)))
    assert len({chunk.id for chunk in chunks}) == len(chunks)
    if tokenizer is by_words:
        assert all(len(chunk.text.split()) <= size for chunk in chunks)


def test_a_document_no_longer_than_the_window_is_one_chunk():
    text = " one two three "
    assert [chunk.text for chunk in chunk_documents([a_document(text)], by_words, 3, 1)] == [text]


def test_windows_end_and_begin_with_whole_sentences_where_they_can():
    text = " ".join(f"This is sentence number {number} here." for number in range(30))
    chunks = chunk_documents([a_document(text)], by_words, 20, 8)
    assert all(chunk.text.startswith("This") and chunk.text.strip().endswith("here.") for chunk in chunks)
    assert chunks[1].start < chunks[0].end


@pytest.mark.parametrize(("size", "overlap"), [(0, 0), (5, 5), (5, -1)])
def test_impossible_windows_are_refused(size, overlap):
    with pytest.raises(ValueError, match=f"size={size}, overlap={overlap}"):
        chunk_documents([], by_words, size, overlap)
