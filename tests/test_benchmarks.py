"""The parts of the benchmarks that decide what is right: gold names, and the corpus of a million edges in small."""

from benchmarks.extraction import gold_names, names_by_rules
from benchmarks.million import made_mentions

from ragtune_lib.graph.build import build_graph


def row(text, *entities):
    """Each entity is (type, wiki, mentions of sentence 0)."""
    return {
        "text": text,
        "sentences": [text],
        "entities": [
            {"type": kind, "wiki": wiki, "mentions": [{"text": mention, "sent": 0} for mention in mentions]}
            for kind, wiki, mentions in entities
        ],
    }


def demanded(text, *entities):
    return {wordings[0]: wordings[1:] for wordings in gold_names(row(text, *entities))[0]}


def test_names_are_told_from_other_mentions():
    text = "Then actor Dennis Hopper , his friend, saw the Grand Mosque in May. The prize was a Prize. Armies came."
    found = demanded(
        text,
        ("person", "D", ["actor Dennis Hopper , his friend", "his"]),
        ("place", "M", ["the Grand Mosque"]),
        ("time", None, ["May"]),
        ("abstract", None, ["a Prize", "The prize"]),
    )
    assert set(found) == {"Dennis Hopper", "Grand Mosque"}
    assert demanded("Armies came.", ("person", None, ["Armies"])) == {}
    assert set(demanded("Palestinians came.", ("person", "P", ["Palestinians"]))) == {"Palestinians"}


def test_a_name_inside_a_longer_one_is_allowed_and_not_demanded():
    must, may = gold_names(
        row("We gave the Nobel Peace Prize .", ("abstract", "N", ["the Nobel Peace Prize"]), ("person", "A", ["Nobel"]))
    )
    assert ([one[0] for one in must], may) == (["Nobel Peace Prize"], {"Nobel"})


def test_owners_places_and_titles_may_be_left_out():
    text = "We saw Mecca 's Grand Mosque , Adler Planetarium in Chicago and General Jean Lamarque ."
    found = demanded(
        text,
        ("place", "G", ["Mecca 's Grand Mosque"]), ("place", "M", ["Mecca 's"]),
        ("place", "A", ["Adler Planetarium in Chicago"]), ("place", "C", ["Chicago"]),
        ("person", "J", ["General Jean Lamarque"]),
    )  # fmt: skip
    assert found == {
        "Mecca's Grand Mosque": ("Grand Mosque",),
        "Adler Planetarium in Chicago": ("Adler Planetarium",),
        "General Jean Lamarque": ("Jean Lamarque",),
        "Mecca": (),
    }


def test_the_rules_are_asked_for_names_per_text():
    assert names_by_rules(["We met Ilse.", "We saw a boat."]) == [{"Ilse"}, set()]


def test_the_made_corpus_has_the_wanted_edges_and_is_as_uneven_as_real_ones():
    mentions, chunks = made_mentions(names=1000, edges=5000)
    entities, links = build_graph(mentions, chunks)
    assert 5000 <= len(links) < 5050
    assert len({entity.name for entity in entities}) == len(entities) > 800
    degree = {entity.id: 0 for entity in entities}
    for link in links:
        degree[link.source] += 1
        degree[link.target] += 1
    most, middle = max(degree.values()), sorted(degree.values())[len(degree) // 2]
    assert most > 10 * middle
