from ragtune_lib.graph.evidence import spelled_as_in_text, with_evidence
from ragtune_lib.records import Chunk, Entity, Relationship

TEXT = "Ilse met Tom. Tomas left. ILSE wrote to Tom. He slept."
CHUNKS = [Chunk("c1", "d", 0, 32, TEXT[:32], "2025-01-01"), Chunk("c2", "d", 14, len(TEXT), TEXT[14:], "2025-01-01")]


def entity(id, name, *chunk_ids):
    return Entity(id, name, "person", "", (), chunk_ids)


def test_evidence_names_whole_words_once_in_reading_order_with_date_and_place():
    link = Relationship("r", "i", "t", 1.0, "", (), ("c1",))
    entities, links = with_evidence([entity("i", "ILSE", "c1", "c2"), entity("t", "tom", "c1", "c2")], [link], CHUNKS)
    assert [(s.text, s.chunk_id) for s in entities[0].evidence] == [
        ("Ilse met Tom.", "c1"),
        ("ILSE wrote to Tom.", "c2"),
    ]
    assert [s.text for s in entities[1].evidence] == ["Ilse met Tom.", "ILSE wrote to Tom."]
    assert links[0].evidence == entities[0].evidence
    assert {s.date for s in links[0].evidence} == {"2025-01-01"}
    assert [s.position for s in entities[0].evidence] == [0, 2]


def test_evidence_comes_from_the_own_chunks_alone_and_may_be_none():
    found, _ = with_evidence(
        [entity("i", "Ilse", "c2"), entity("x", "the sleeper", "c2"), entity("e", "!?", "c2")], [], CHUNKS
    )
    assert [[s.text for s in one.evidence] for one in found] == [["ILSE wrote to Tom."], [], []]


def test_the_most_frequent_spelling_of_the_chunks_becomes_the_name():
    chunks = [Chunk("c", "d", 0, 40, "Ali  Baba! Ali\nBaba, ALI BABA. NASA; nasal", "")]
    entities = [
        entity("a", "ALI BABA", "c"),
        entity("n", "NASA", "c"),
        entity("o", "ODIN", "c"),
        entity("p", "A.*", "c"),
    ]
    assert [one.name for one in spelled_as_in_text(entities, chunks)] == ["Ali Baba", "NASA", "ODIN", "A.*"]
