from dataclasses import replace

import numpy as np
import pytest
import tiny

from ragtune_lib.answer import (
    Reader,
    RetrievalSettings,
    answer_value,
    fit_documents,
    tune_retrieval,
    validation_questions,
    with_context,
)
from ragtune_lib.generate import generate
from ragtune_lib.models import chat_prompt, load_model, load_tokenizer
from ragtune_lib.records import Answer, Chunk, Document, QAPair, Question
from ragtune_lib.store import Cache, read_lines
from ragtune_lib.training_set import make_examples

one_thread = pytest.fixture(scope="module", autouse=True)(tiny.one_thread)


def asked(text, id="q1", answer="plum jam", evidence=("c1",)):
    return Question(id, "local", text, answer, ((answer,),), evidence)


def chunk(id, text, date="", document="d1", start=0):
    return Chunk(id, document, start, start + len(text), text, date)


def document(at, text):
    return Document(f"d{at}", f"{at}.md", "", text, "")


QUESTIONS = [
    asked(text, f"q{at}") for at, text in enumerate(["Who?", "What did she sell?", "When was it, and why?", "!"])
]
EARLY, LATE = chunk("c1", " She sold jam.\n", "2025-03-09"), chunk("c2", "It rained.", "2025-11-02")


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    spec = tiny.save_model(tmp_path_factory.mktemp("model"))
    return load_model(spec).float(), load_tokenizer(spec)


class Silent:
    """Stands where a model stands and fails as soon as it is asked anything."""

    def __init__(self, model):
        self.config = model.config
        self.device = model.device

    def __call__(self, **_):
        """Never to be reached."""
        raise AssertionError("the model was asked again")


@pytest.fixture
def cache(tmp_path):
    return Cache(tmp_path / "cache.jsonl")


def test_chunks_are_read_in_the_order_of_their_dates_with_the_question_last():
    text = with_context([LATE, EARLY, chunk("c0", "Undated {question}.")], "Why {context}?")
    assert text.index("Undated {question}.") < text.index("9 March 2025\nShe sold jam.\n\n2 November 2025\nIt rained.")
    assert text.endswith("Why {context}?")


def test_chunks_of_one_day_are_read_in_the_order_of_the_text():
    parts = [chunk("b", "second", "2025-03-09", start=50), chunk("a", "first", "2025-03-09"), chunk("z", "other", "2025-03-09", "d0")]  # fmt: skip
    text = with_context(parts, "?")
    assert text.index("other") < text.index("first") < text.index("second")


def test_answers_come_in_order_with_their_costs(small, cache):
    model, tokenizer = small
    contexts = [[LATE, EARLY], [], [EARLY], [LATE]]
    answers = Reader(model, tokenizer, "base", 12, cache).answer(QUESTIONS, "vanilla_rag", contexts)
    prompts = [
        chat_prompt(tokenizer, with_context(chunks, question.question) if chunks else question.question)
        for question, chunks in zip(QUESTIONS, contexts, strict=True)
    ]
    assert [answer.text for answer in answers] == generate(model, tokenizer, prompts, 12)
    assert [answer.question_id for answer in answers] == ["q0", "q1", "q2", "q3"]
    assert [answer.context_ids for answer in answers] == [("c2", "c1"), (), ("c1",), ("c2",)]
    assert [answer.prompt_tokens for answer in answers] == [len(tokenizer(p)["input_ids"]) for p in prompts]
    assert all(answer.system == "vanilla_rag" and 0 <= answer.output_tokens <= 12 for answer in answers)


def test_what_was_answered_is_not_asked_again(small, cache):
    model, tokenizer = small
    first = Reader(model, tokenizer, "base", 12, cache).answer(QUESTIONS[:2], "base")
    assert len(read_lines(cache.path)[0]) == 2
    every = Reader(model, tokenizer, "base", 12, Cache(cache.path)).answer(QUESTIONS[::-1], "base")
    assert len(read_lines(cache.path)[0]) == 4
    assert every[::-1][:2] == first
    again = Reader(Silent(model), tokenizer, "base", 12, Cache(cache.path)).answer(QUESTIONS, "base")
    assert again == every[::-1]
    assert Reader(Silent(model), tokenizer, "base", 12, Cache(cache.path)).answer([], "base") == []


def test_the_same_prompt_of_another_system_or_question_id_is_not_asked_again(small, cache):
    model, tokenizer = small
    first = Reader(model, tokenizer, "base", 12, cache).answer(QUESTIONS[:1], "base")
    other = Reader(Silent(model), tokenizer, "base", 12, cache).answer([replace(QUESTIONS[0], id="x")], "rag_tuned")
    assert [(a.question_id, a.system, a.text) for a in other] == [("x", "rag_tuned", first[0].text)]


def test_other_weights_limits_and_contexts_are_asked_for(small, cache, tmp_path):
    model, tokenizer = small
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    (adapter / "adapter_model.safetensors").write_bytes(b"one")

    def lines(weights="base", limit=12, contexts=None):
        Reader(model, tokenizer, weights, limit, Cache(cache.path)).answer(QUESTIONS[:1], "s", contexts)
        return len(read_lines(cache.path)[0])

    assert [lines(), lines("tuned"), lines(limit=13), lines(contexts=[[EARLY]]), lines(contexts=[[LATE]])] == [1, 2, 3, 4, 5]  # fmt: skip
    assert [lines(adapter), lines(adapter), lines()] == [6, 6, 6]
    (adapter / "adapter_model.safetensors").write_bytes(b"two")
    assert lines(adapter) == 7


def test_a_batch_that_is_done_survives_the_failure_of_the_next(small, cache):
    model, tokenizer = small
    contexts = [[chunk(f"c{at}", f"{at}" * 6000)] for at in range(4)]  # four do not fit into one batch of tokens

    class Failing(Silent):
        calls = 0

        def __call__(self, **options):
            """Work for one batch of at most four tokens an answer, and then fail."""
            self.calls += 1
            if self.calls == 5:
                raise MemoryError
            return model(**options)

    with pytest.raises(MemoryError):
        Reader(Failing(model), tokenizer, "base", 4, cache).answer(QUESTIONS, "vanilla_rag", contexts)
    done = len(read_lines(cache.path)[0])
    assert 0 < done < 4
    answers = Reader(model, tokenizer, "base", 4, Cache(cache.path)).answer(QUESTIONS, "vanilla_rag", contexts)
    assert len(answers) == len(read_lines(cache.path)[0]) == 4


def test_reading_everything_once_answers_as_reading_it_each_time(small, cache):
    model, tokenizer = small
    documents = [document(1, "She sold jam."), document(2, "It rained <<the question stands here>> {question}.")]
    reader = Reader(model, tokenizer, "base", 12, cache)
    answers, fit = reader.answer_from_all(QUESTIONS, documents, batch_tokens=300)
    told = f"{documents[0].text}\n\n{documents[1].text}"
    whole = with_context([chunk("all", told)], "{}")
    prompts = [chat_prompt(tokenizer, whole.replace("{}", question.question)) for question in QUESTIONS]
    assert [answer.text for answer in answers] == generate(model, tokenizer, prompts, 12)
    assert [answer.prompt_tokens for answer in answers] == [len(tokenizer(p)["input_ids"]) for p in prompts]
    assert {(answer.system, answer.context_ids) for answer in answers} == {("long_context", ())}
    assert fit == {"corpus_tokens": len(told) + 2, "used_tokens": len(told) + 2, "documents": 2, "used_documents": 2, "window": 512}  # fmt: skip
    silent = Reader(Silent(model), tokenizer, "base", 12, Cache(cache.path))
    assert silent.answer_from_all(QUESTIONS, documents, batch_tokens=300) == (answers, fit)
    assert silent.answer_from_all([], documents)[0] == []


def test_a_corpus_longer_than_the_window_is_read_from_its_end(small, cache):
    model, tokenizer = small
    documents = [document(at, str(at) * 100) for at in range(9)]
    answers, fit = Reader(model, tokenizer, "base", 12, cache).answer_from_all(QUESTIONS, documents)
    assert fit["documents"] == 9 and 0 < fit["used_documents"] < 9
    assert fit["used_tokens"] == 102 * fit["used_documents"]
    assert all(answer.prompt_tokens + 12 <= fit["window"] == 512 for answer in answers)


@pytest.mark.parametrize(
    ("room", "told", "used", "count"),
    [
        (100, "aaaa\n\nbbbbbb\n\ncc", 18, 3),  # 4 + 2, 6 + 2 and 2 + 2 tokens: a byte each, and a blank line
        (18, "aaaa\n\nbbbbbb\n\ncc", 18, 3),
        (17, "bbbbbb\n\ncc", 12, 2),
        (11, "cc", 4, 1),
        (4, "cc", 4, 1),
        (3, "cc", 2, 1),  # not with its blank line: cut, though nothing is lost
        (1, "c", 1, 1),
        (0, "", 0, 0),
        (-9, "", 0, 0),
    ],
)
def test_the_latest_documents_that_fit_are_told(small, room, told, used, count):
    documents = [document(1, "aaaa"), document(2, "bbbbbb"), document(3, "cc")]
    expected = {"corpus_tokens": 18, "used_tokens": used, "documents": 3, "used_documents": count}
    assert fit_documents(documents, small[1], room) == (told, expected)


def test_a_document_longer_than_the_room_gives_its_end(small):
    assert fit_documents([document(1, "abcdefgh")], small[1], 5)[0] == "defgh"
    assert fit_documents([], small[1], 5) == ("", {"corpus_tokens": 0, "used_tokens": 0, "documents": 0, "used_documents": 0})  # fmt: skip


def pairs():
    made = []
    for fact in range(40):
        scope = "global" if fact % 4 == 0 else "local"
        made += [
            QAPair(f"p{fact}-{at}", scope, "entity", f"Wording {at} of {fact}?", "It was so.", "so", (f"c{fact}",), "template", f"f{fact}")
            for at in range(3)
        ]  # fmt: skip
        made.append(
            QAPair(f"a{fact}", "local", "absent", f"How tall is {fact}?", "", "No.", (), "template", f"a{fact}")
        )
    return made


def test_validation_never_asks_with_a_wording_that_is_trained():
    known = pairs()
    examples = make_examples(known)
    questions = validation_questions(examples, known, 16)
    trained = {example.question for example in examples if example.split == "train"}
    assert len(questions) == sum(example.split == "validation" for example in examples) == 16
    assert not trained & {question.question for question in questions}
    by_wording = {pair.question: pair for pair in known}
    for question in questions:
        pair = by_wording[question.question]
        assert (question.scope, question.answer, question.evidence) == (pair.scope, pair.answer, pair.evidence_ids)
        assert question.facts == ((pair.answer,),) and pair.kind != "absent"


@pytest.mark.parametrize(("count", "wide"), [(3, 1), (9, 3), (16, 5), (0, 0)])
def test_a_third_of_the_validation_questions_is_global(count, wide):
    known = pairs()
    questions = validation_questions(make_examples(known), known, count)
    assert sum(question.scope == "global" for question in questions) == wide
    assert len(questions) == count
    assert validation_questions(make_examples(known)[::-1], known[::-1], count) == questions


def test_where_too_few_wordings_are_held_out_trained_local_ones_fill_up():
    known = pairs()
    examples = make_examples(known)
    held = {example.question for example in examples if example.split == "validation"}
    few, many = validation_questions(examples, known, 16), validation_questions(examples, known, 40)
    assert len(many) == 40 and {question.question for question in few} == held
    assert sum(question.scope == "global" for question in many) == sum(question.scope == "global" for question in few)
    assert all(question.scope == "local" for question in many if question.question not in held)
    none_held = [replace(example, split="train") for example in examples]
    assert len(validation_questions(none_held, known, 24)) == 24


def test_abstentions_are_no_validation_questions_even_when_held_out():
    known = pairs()
    examples = [replace(example, split="validation") for example in make_examples(known)]
    assert len(validation_questions(examples, known, 1000)) == 120


@pytest.mark.parametrize(
    ("answer", "text", "value"),
    [
        ("plum jam", "She sold Plum-Jam!", 1.0),
        ("plum jam", "She sold jam of plums.", 0.0),
        ("1,200 euros", "It cost 1200 euros.", 1.0),
        ("six words are still a span", "six words are still a span", 1.0),
        ("Ilse sold fourteen jars of plum jam there", "Fourteen jars.", 0.5),  # fourteen, jars of these and plum, jam
        ("Ilse sold fourteen jars of plum jam there", "plum jam, fourteen jars, and much more", 1.0),
        ("Ilse sold fourteen jars of plum jam there", "Ilse sold it.", 0.0),  # the question says as much
        ("What of it, then, was not so there", "anything", 0.0),  # no telling word
        ("...", "anything", 0.0),
    ],
)
def test_the_value_of_an_answer_is_counted_by_hand(answer, text, value):
    assert answer_value(asked("What has Ilse sold?", answer=answer), text) == value


WORDS = ("anvil", "birch", "copper", "dune", "elm", "fern")


def corpus(size):
    """One document per word, in chunks: size 10 has one chunk each, size 5 two of which the second tells more."""
    made = []
    for word in WORDS:
        texts = [f"about {word} it says secret{word}"] if size == 10 else [f"about {word}", f"secret{word} {word}"]
        made += [chunk(f"{word}{size}{at}", text, document=f"d-{word}") for at, text in enumerate(texts)]
    return made


ORIGIN = {f"c-{word}": f"d-{word}" for word in WORDS}
ASKED = [asked(f"about {word}?", f"q-{word}", f"secret{word}", (f"c-{word}",)) for word in WORDS]


class Scripted:
    """A reader that answers right where it is told to."""

    def __init__(self, right):
        self.right = right
        self.calls = []

    def answer(self, questions, system, contexts):
        """One answer per question, as a real reader gives."""
        self.calls.append((system, len(contexts[0]), contexts[0][0].id))
        return [
            Answer(question.id, system, question.answer if self.right(chunks) else "no", (), 0, 0, 0.0)
            for question, chunks in zip(questions, contexts, strict=True)
        ]


@pytest.mark.parametrize(("size", "top_k"), [(5, 1), (5, 2), (10, 1), (10, 4)])
def test_the_setting_with_which_most_is_answered_is_chosen(size, top_k):
    reader = Scripted(lambda chunks: len(chunks) == top_k and chunks[0].id.rstrip("01").endswith("5") == (size == 5))
    chunkings = {5: corpus(5), 10: corpus(10)}
    best, rows = tune_retrieval(ASKED, chunkings, ORIGIN, tiny.embed, reader, top_ks=(1, 2, 4))
    assert (best.chunk_tokens, best.top_k) == (size, top_k)
    assert [(row["chunk_tokens"], row["top_k"]) for row in rows] == [(5, 1), (5, 2), (5, 4), (10, 1), (10, 2), (10, 4)]
    assert [row["value"] for row in rows] == [
        float((row["chunk_tokens"], row["top_k"]) == (size, top_k)) for row in rows
    ]
    assert {row["n"] for row in rows} == {6} and {system for system, *_ in reader.calls} == {"vanilla_rag"}


def test_values_are_means_and_equal_ones_go_to_the_fewest_tokens():
    chunkings = {5: corpus(5), 10: corpus(10)}
    half = Scripted(lambda chunks: any(word in chunks[0].id for word in WORDS[:3]))
    best, rows = tune_retrieval(ASKED, chunkings, ORIGIN, tiny.embed, half, top_ks=(1, 2))
    assert {(row["value"], row["recall"]) for row in rows} == {(0.5, 1.0)}
    assert best == RetrievalSettings("bm25", 5, 1)  # of retrievers that find as much, the plainest


def test_the_retriever_that_finds_the_right_document_is_chosen():
    def blind(texts):
        return np.ones((len(texts), 1), np.float32)

    def knowing(texts):
        """Texts that hold the same word of the list in any language are alike."""
        foreign = {"amboss": 0, "birke": 1, "kupfer": 2, "düne": 3, "ulme": 4, "farn": 5}
        rows = np.zeros((len(texts), 7), np.float32)
        for row, text in zip(rows, texts, strict=True):
            row[
                next((at for word, at in [*foreign.items(), *zip(WORDS, range(6), strict=True)] if word in text), 6)
            ] = 1
        return rows

    never = Scripted(lambda chunks: False)
    best, rows = tune_retrieval(ASKED, {10: corpus(10)}, ORIGIN, blind, never, top_ks=(1,))
    assert best == RetrievalSettings("bm25", 10, 1) and rows[0]["recall"] == 1.0
    german = [
        replace(question, question=f"{word}?")
        for question, word in zip(ASKED, ("amboss", "birke", "kupfer", "düne", "ulme", "farn"), strict=True)
    ]
    best, rows = tune_retrieval(german, {10: corpus(10)}, ORIGIN, knowing, never, top_ks=(1,))
    assert best == RetrievalSettings("dense", 10, 1) and rows[0]["recall"] == 1.0


def test_recall_is_the_share_of_the_wanted_documents():
    both = [replace(ASKED[0], evidence=("c-anvil", "c-birch")), ASKED[2]]
    never = Scripted(lambda chunks: False)
    _, rows = tune_retrieval(both, {10: corpus(10)}, ORIGIN, tiny.embed, never, top_ks=(1,))
    assert rows[0]["recall"] == 0.75  # one of two, and one of one


def test_nothing_to_retrieve_from_is_an_error():
    with pytest.raises(ValueError, match="no chunk to retrieve"):
        tune_retrieval(ASKED, {5: [], 10: []}, ORIGIN, tiny.embed, Scripted(bool))


@pytest.mark.model
def test_a_prompt_read_in_two_parts_has_the_tokens_of_the_whole(cache):
    model, tokenizer = load_model("embedded").float(), load_tokenizer("embedded")
    documents = [document(1, "The hen is called Berta."), document(2, "The dog is called Max.")]
    questions = [asked("How is the hen called?"), asked("Who is Max?", "q2")]
    answers, _ = Reader(model, tokenizer, "base", 8, cache).answer_from_all(questions, documents)
    told = "\n\n".join(document.text for document in documents)
    prompts = [chat_prompt(tokenizer, with_context([chunk("all", told)], question.question)) for question in questions]
    assert [answer.prompt_tokens for answer in answers] == [len(tokenizer(prompt)["input_ids"]) for prompt in prompts]
    assert [answer.text for answer in answers] == generate(model, tokenizer, prompts, 8)
