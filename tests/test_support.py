import pytest

from ragtune_lib.records import Answer, Chunk, QAPair
from ragtune_lib.support import Corpus, abstains, is_cut_thought, without_cut_thoughts, without_dates
from ragtune_lib.training_set import target_text, without_thought

MARCH = (
    "# A title\n\nIlse Brandt baked twelve loaves of plum bread for the harbour feast. "
    "We paid 14 pounds for the flour. Rain fell on the empty market square all afternoon."
)
JUNE = "Tomas repaired the church organ with Ilse's old chisel. The bellows leaked again, said Tomas."


def chunk(number: int, text: str, date: str) -> Chunk:
    return Chunk(f"c{number}", f"d{number}", 0, len(text), text, date)


CORPUS = Corpus([chunk(0, MARCH, "2025-03-09"), chunk(1, JUNE, "2025-06-01")])


@pytest.mark.parametrize(
    "sentence",
    [
        "Ilse Brandt baked twelve loaves of plum bread.",
        "Ilse's plum bread was baked for the feast.",
        "The flour cost 14 pounds.",
        "On 9 March 2025 we paid 14 pounds for the flour.",
        "On 2025-03-09 we paid 14 pounds for the flour.",
        "In March 2025 we paid 14 pounds for the flour.",
        "On March 9th we paid 14 pounds for the flour.",
        "On Sunday Ilse baked loaves of plum bread.",
        "We paid 14 pounds for the flour and rain fell on the market.",  # two neighbouring sentences
        "Ilse Brandt lent a chisel and Tomas repaired the organ.",  # Brandt elsewhere, Ilse here
    ],
)
def test_what_the_corpus_says_is_backed(sentence):
    assert CORPUS.backs(sentence)


@pytest.mark.parametrize(
    "sentence",
    [
        "The mayor opened a new school by the river.",  # other words
        "We paid 15 pounds for the flour.",  # another number
        "On 10 March 2025 we paid 14 pounds for the flour.",  # another day
        "On 9 March 2024 we paid 14 pounds for the flour.",  # another year
        "In April we paid 14 pounds for the flour.",  # another month
        "On Monday Ilse baked loaves of plum bread.",  # another weekday
        "We paid 9 pounds for the flour.",  # the number stands only in the date
        "The plum bread was baked by Tomas for the harbour feast.",  # a name from another document
        "Tomas baked twelve loaves of plum bread for the harbour feast.",  # the same as the first word
        "Rain leaked on the organ and the loaves.",  # words of two documents
    ],
)
def test_what_the_corpus_does_not_say_is_not_backed(sentence):
    assert not CORPUS.backs(sentence)


def test_sixty_percent_of_the_words_are_enough_and_less_is_not():
    corpus = Corpus([chunk(0, "Alpha bravo charlie walk slowly.", "")])
    assert corpus.backs("bravo charlie walk dragon mountain")  # 3 of 5
    assert not corpus.backs("bravo charlie dragon mountain")  # 2 of 4


def test_the_share_is_that_of_the_sentences():
    answer = "The flour cost 14 pounds. The flour cost 15 pounds. The bellows leaked. The mayor sang."
    assert CORPUS.share_backed(answer) == 0.5


def test_abstaining_and_empty_sentences_are_neutral():
    assert CORPUS.share_backed("The bellows leaked. The journal does not say why.") == 1.0
    assert CORPUS.share_backed("Yes. The bellows leaked.") == 1.0


@pytest.mark.parametrize("answer", ["", "  ", "I don't know.", "Yes."])
def test_an_answer_that_says_nothing_has_no_support(answer):
    assert CORPUS.share_backed(answer) == 0.0


def test_a_bare_date_is_backed_when_a_document_has_it():
    assert CORPUS.share_backed("9 March 2025.") == 1.0
    assert CORPUS.share_backed("9 March 2026.") == 0.0


def test_a_document_cut_into_chunks_keeps_its_numbers_and_names():
    parts = [
        Chunk("c0", "d0", 0, 30, "Ilse Brandt came at 7.", "2025-03-09"),
        Chunk("c1", "d0", 30, 80, "Later she mended nets on the quay.", "2025-03-09"),
    ]
    assert Corpus(parts).backs("She mended nets on the quay with Ilse Brandt at 7.")


def test_an_empty_corpus_backs_nothing():
    assert Corpus([]).share_backed("The bellows leaked. 9 March.") == 0.0


@pytest.mark.parametrize(
    "text",
    [
        "The journal does not say.",
        "The journal doesn\u2019t say what Marit paid.",
        "The journal entries do not mention a dog.",
        "The provided text does not specify the price.",
        "The context does not contain any information about this.",
        "The notes do not explicitly state it.",
        "It does not say.",
        "I don't know.",
        "I'm sorry, but I don't have any information about that.",
        "Unfortunately, I cannot find the answer.",
        "As an AI language model, I do not have access to your journal.",
        "I am not sure. Perhaps it was Tomas.",
        "I have no record of that.",
        "It is not mentioned.",
        "The name of the dog is not mentioned in the journal.",
        "Her birthday isn't given in the entries.",
        "That information is not available.",
        "There is no information about a dog.",
        "There's no mention of it.",
        "The journal gives no details about the school.",
        "No information is given.",
        "Nothing in the journal says so.",
        "This question cannot be answered.",
        "The answer can't be found in the text.",
        "Not mentioned.",
        "Unknown.",
    ],
)
def test_declining_to_answer_is_recognised(text):
    assert abstains(text)


@pytest.mark.parametrize(
    "text",
    [
        "Ilse did not say goodbye.",
        "Tomas does not mention the house to anyone.",
        "The cat was not found in the garden.",
        "The key was not given back.",
        "The boat could not be found in the fog.",
        "On 9 March I wrote: I don't know how he does it.",
        "We had no record player then.",
        "He did not know the tune.",
        "It was not known to Crispin that the cat slept there.",
        "Zoltan brought lentil soup. The journal does not say why.",
        "Nothing grew that year.",
        "There was no rain in July.",
        "",
    ],
)
def test_a_statement_with_a_negation_is_no_abstention(text):
    assert not abstains(text)


def test_dates_are_cut_out_and_numbers_stay():
    assert without_dates("On 9 March 2025, 9 of them; 2025-03-09 too.") == "On ,, 9 of them; , too."


@pytest.mark.parametrize("form", ["think", "raft"])
def test_a_trained_answer_is_a_cut_thought_until_its_answer_begins(form):
    said = target_text(
        QAPair("p", "local", "entity_cot", "Who?", "Ilse sold jam, so her.", "Ilse.", (), "t", "f"), form
    )
    begins = said.rindex("Ilse.")
    opened = len("<think>") if form == "think" else len("##Reason:")
    for end in range(opened, len(said) + 1):
        cut = without_thought(said[:end])
        assert is_cut_thought(cut) == (end < len(said[:begins].rstrip())), said[:end]


@pytest.mark.parametrize("text", ["", "Ilse.", "I think so.", "##Answer: Ilse.", "<b>think</b>", "He wrote <think>."])
def test_other_texts_are_no_cut_thoughts(text):
    assert not is_cut_thought(text)


def test_a_cut_thought_is_a_blank_answer_and_a_problem_with_what_was_said():
    answers = [
        Answer(f"q{at}", "rag_tuned", text, (), 3, 9, 0.5) for at, text in enumerate(("Ilse.", "<think>\nIlse sold"))
    ]
    kept, problems = without_cut_thoughts(answers)
    assert [(one.question_id, one.text, one.output_tokens) for one in kept] == [("q0", "Ilse.", 9), ("q1", "", 9)]
    assert [(one.item, one.reply) for one in problems] == [("q1 rag_tuned", "<think>\nIlse sold")]
    assert "max_new_tokens" in problems[0].reason
