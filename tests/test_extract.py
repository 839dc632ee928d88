import pytest

from ragtune_lib.graph.extract import extract_mentions
from ragtune_lib.records import Chunk


def chunks_of(*texts):
    return [Chunk(f"c{n}", f"d{n}", 0, len(text), text, "") for n, text in enumerate(texts)]


def found(kind, *texts):
    return {mention.name for mention in extract_mentions(chunks_of(*texts)) if mention.kind == kind}


@pytest.mark.parametrize(
    ("sentence", "names"),
    [
        ("Yesterday we met Ilse Brandt near Rue de Lille.", {"Ilse Brandt", "Rue de Lille"}),
        ("We sailed the Bay of Fundy with Zo\u00eb \u0141ukasz.", {"Bay of Fundy", "Zo\u00eb \u0141ukasz"}),
        ("I like Tomas's boat.", {"Tomas"}),
        ("We saw Dr. Amadi and Mr Peverell.", {"Dr. Amadi", "Mr Peverell"}),
        ("The doctor came in March on a Monday, I think, and I'm glad.", set()),
        ("Then I asked the Doctor and the Captain.", set()),
        ("We read Anne-Marie Duval and shop at Marks & Spencer.", {"Anne-Marie Duval", "Marks & Spencer"}),
        ("Anselm Tregarth came in.", {"Anselm Tregarth"}),
        ("We were told Marit and Oriel quarrelled.", {"Marit", "Oriel"}),
        ("WE ARE ALL SHOUTING HERE.", set()),
        ("There was a new shop in New York, and a world of people at the World Cup.", {"New York", "World Cup"}),
        ("He left the US for Kenya and told us.", {"US", "Kenya"}),
        ("We saw Ada Vogt of Acme and the old Museum of Flight.", {"Ada Vogt", "Acme", "Museum of Flight"}),
        ("She met the Lord Mayor of London.", {"Lord Mayor of London"}),
        ("He led the Vogt Foundation for the Visual Arts.", {"Vogt Foundation for the Visual Arts"}),
        ("We brought Ada for Ilse.", {"Ada", "Ilse"}),
        ("We danced at Studio 54, flew with STS-133 and met Ada, 15.", {"Studio 54", "STS-133", "Ada"}),
        (
            "We knew that in Kenya 15 people, with Linux 2.4 and Cuba 10% more, left Oslo 1974.",
            {"Kenya", "Linux", "Cuba", "Oslo"},
        ),
        ("I met a Swiss painter and her Korean friend.", set()),
        ("We saw how Susan laughed at the Swiss.", {"Susan", "Swiss"}),
        ("He saw Karim al Amr.", {"Karim al Amr"}),
        ("Es regnet.", set()),
    ],
)
def test_names_are_capitalised_runs(sentence, names):
    assert found("name", sentence) == names


def test_a_word_that_opens_a_sentence_is_a_name_when_the_corpus_capitalises_it_inside_sentences():
    assert found("name", "Turnip slept. We fed Turnip.", "Bread was late. We ate bread.") == {"Turnip"}


def test_a_common_word_at_a_sentence_start_leads_a_name_when_the_corpus_has_both_elsewhere():
    assert "New York" in found("name", "We love New York. It is new. New York is loud.")
    assert "New York" not in found("name", "It is new. New York is loud. We saw York.")


def test_the_adjective_of_a_people_is_learnt_from_its_articles():
    texts = ("A Danish boat came. We saw Danish sailors.", "We talked of Aidan. Then Aidan walks. We saw Aidan run.")
    assert found("name", *texts) == {"Aidan"}


def test_a_word_written_small_as_a_rule_is_no_name_at_a_sentence_start():
    assert found("name", "Rose fell. The rose was red. A rose is a rose. We saw Rose.") == set()


def test_a_name_that_only_ever_opens_sentences_is_found_when_it_recurs():
    assert found("name", "Keziah left. Keziah wrote. Suddenly it rained. Suddenly it stopped.") == {"Keziah"}


def test_phrases_recur_in_two_documents_and_drop_determiners_and_verbs():
    texts = (
        "The allotment flooded. My left knee is sore.",
        "We dug the allotment. I iced my left knee.",
        "The shed is new.",
    )
    assert found("phrase", *texts) == {"allotment", "left knee"}


def test_words_of_time_and_measure_are_no_phrases():
    text = "It took a week. That was the first time, and the whole thing was a lot in a way."
    assert found("phrase", text, text + " Again.") == set()


def test_a_compound_of_many_hyphens_qualifies_the_noun_after_it():
    texts = ("The up-to-date barn burnt.", "My so-and-so left.", "The barn is a barn.", "We saw the barn.")
    assert found("phrase", *texts) == {"barn"}


def test_a_phrase_is_also_found_without_its_determiner():
    mentions = extract_mentions(chunks_of("I love the pear tree.", "We pruned the pear tree.", "Old pear trees bloom."))
    assert {m.chunk_id for m in mentions} == {"c0", "c1", "c2"}


def test_overlapping_chunks_count_a_sentence_once_and_offsets_are_of_the_document():
    text = "We met Ilse. We met Tomas in Bremen. We met Ada."
    whole = Chunk("a", "d", 0, 36, text[:36], "")
    cut = Chunk("b", "d", 20, len(text), text[20:], "")  # begins inside the second sentence
    mentions = extract_mentions([whole, cut])
    assert [(m.name, m.start) for m in mentions] == [("Ilse", 0), ("Tomas", 13), ("Bremen", 13), ("Ada", 37)]
    assert all(text[m.start :].startswith(m.sentence) for m in mentions)


def test_a_name_is_mentioned_once_per_sentence():
    assert len(extract_mentions(chunks_of("We told Ilse that Ilse was late."))) == 1


def test_text_without_names_and_no_text_give_nothing():
    assert extract_mentions(chunks_of("it rained and it rained.")) == []
    assert extract_mentions([]) == []
