import json
import random
from itertools import permutations

import pytest

from ragtune_lib.graph.alias_merge import AliasReview, grouped, merge, read_alias_decisions, remaining
from ragtune_lib.records import AliasDecision, AliasPair, Community, Entity, Relationship, Sentence
from ragtune_lib.store import content_id


def decided(*events, reviewer=""):
    """Each event is "a=b" (accept), "a!b" (reject) or "undo a=b"; more than two letters name a group."""
    found = []
    for event in events:
        undo, text = event.startswith("undo "), event.removeprefix("undo ")
        ids = tuple(sorted(text.replace("!", "=").split("=")))
        action = "undo" if undo else "reject" if "!" in text else "accept"
        found.append(AliasDecision(content_id(*ids), ids, action, (), reviewer))
    return found


def outcome(*events):
    found = grouped(decided(*events))
    return ["".join(group) for group in found.groups], ["".join(pair) for pair in found.open]


def test_an_accepted_pair_is_a_group_and_a_rejected_one_is_not():
    assert outcome("a=b", "c!d") == (["ab"], [])
    assert outcome() == ([], [])


def test_nothing_is_merged_by_way_of_a_third():
    assert outcome("a=b", "b=c") == (["ab"], ["ac"])
    assert outcome("b=c", "a=b") == (["bc"], ["ac"])


def test_the_missing_pair_completes_the_group_wherever_it_was_accepted():
    for order in permutations(["a=b", "b=c", "a=c"]):
        assert outcome(*order) == (["abc"], [])


def test_a_decision_about_several_speaks_of_every_pair():
    assert outcome("a=b=c") == (["abc"], [])
    assert outcome("a=b", "c=d", "a=b=c=d") == (["abcd"], [])
    assert outcome("a!b!c", "a=b") == (["ab"], [])


def test_two_groups_wait_for_all_pairs_across_them():
    assert outcome("a=b", "c=d", "b=c") == (["ab", "cd"], ["ac", "ad", "bd"])


def test_a_rejected_pair_is_never_merged_and_the_contradiction_is_named():
    found = grouped(decided("a=b", "a!c", "b=c"))
    assert (found.groups, found.open, found.contradicted) == ((("a", "b"),), (), (("b", "c"),))


def test_the_last_decision_about_a_pair_counts():
    assert outcome("a=b", "a!b") == ([], [])
    assert outcome("a!b", "a=b") == (["ab"], [])
    assert outcome("a=b=c", "a!c") == (["ab"], [])


def test_undo_brings_back_what_was_before():
    assert outcome("a=b", "undo a=b") == ([], [])
    assert outcome("a!b", "a=b", "undo a=b") == ([], [])
    assert outcome("a=b", "b=c", "undo a=b") == (["bc"], [])
    assert outcome("undo a=b", "a=b") == (["ab"], [])


def test_every_merged_pair_was_accepted_whatever_the_decisions():
    rng = random.Random(2)
    for _ in range(300):
        pairs = [rng.sample("abcdef", 2) for _ in range(12)]
        events = decided(*(rng.choice("=!=").join(pair) for pair in pairs))
        last = {event.entity_ids: event.action for event in events}
        found = grouped(events)
        members = [one for group in found.groups for one in group]
        assert len(members) == len(set(members))
        for group in found.groups:
            assert all(last.get((x, y)) == "accept" for x in group for y in group if x < y)
        together = {(x, y) for group in found.groups for x in group for y in group if x < y}
        unmerged = {pair for pair, action in last.items() if action == "accept"} - together
        assert bool(unmerged) == bool(found.open or found.contradicted)
        assert not set(found.open) & set(last)


S = [Sentence(f"s{n}", f"c{n}", "", n) for n in range(5)]


def entity(id, *at, kind="person"):
    return Entity(id, id.upper(), kind, f"of {id}", tuple(S[n] for n in at), tuple(f"c{n}" for n in at))


def link(source, target, weight, *at):
    return Relationship(
        f"{source}{target}",
        source,
        target,
        weight,
        f"{source} {target}",
        tuple(S[n] for n in at),
        tuple(f"c{n}" for n in at),
    )


ENTITIES = [entity("a", 0), entity("b", 3, 1, kind="geo"), entity("x", 2), entity("y", 4)]
LINKS = [
    link("a", "b", 1.0, 1),
    link("a", "x", 2.0, 0),
    link("b", "x", 3.0, 0, 1),
    link("b", "y", 1.5, 3),
    link("x", "y", 1.0, 4),
]


def test_merging_loses_nothing():
    found = merge(ENTITIES, LINKS, [("a", "b")])
    one = next(e for e in found.entities if e.id == "b")  # it has more evidence
    assert [e.id for e in found.entities] == ["b", "x", "y"]
    assert (one.name, one.kind, one.description) == ("B", "geo", "of b of a")
    assert one.evidence == (S[0], S[1], S[3])
    assert one.chunk_ids == ("c0", "c1", "c3")
    links = {(r.source, r.target): r for r in found.relationships}
    assert set(links) == {("b", "x"), ("b", "y"), ("x", "y")}
    both = links["b", "x"]
    assert (both.weight, both.description, both.evidence) == (5.0, "a x b x", (S[0], S[1]))
    assert both.id == "bx"
    assert links["b", "y"] == LINKS[3]
    assert found.loops == [LINKS[0]]
    kept = sum(r.weight for r in found.relationships) + sum(r.weight for r in found.loops)
    assert kept == sum(r.weight for r in LINKS)


def test_ends_stay_in_order_and_a_new_link_has_the_id_of_its_ends():
    entities = [entity("a"), entity("m"), entity("z", 1, 2)]
    found = merge(entities, [link("a", "m", 1.0)], [("a", "z")])
    assert [(r.id, r.source, r.target) for r in found.relationships] == [(content_id("m", "z"), "m", "z")]


def test_order_of_the_input_does_not_matter():
    rng = random.Random(1)
    entities, links, groups = list(ENTITIES), list(LINKS), [["a", "b"], ["x", "y"]]
    expected = merge(entities, links, groups)
    for _ in range(5):
        for items in (entities, links, groups, *groups):
            rng.shuffle(items)
        assert merge(entities, links, groups) == expected


def test_without_groups_the_graph_stays_as_it_is():
    found = merge(ENTITIES, LINKS, [])
    assert (found.entities, found.relationships) == (ENTITIES, LINKS)
    assert (found.loops, found.problems) == ([], [])


def test_an_alias_that_is_gone_is_a_problem_and_the_rest_is_merged():
    found = merge(ENTITIES, LINKS, [("a", "b", "gone"), ("lost", "y")])
    assert [e.id for e in found.entities] == ["b", "x", "y"]
    assert [p.item for p in found.problems] == ["alias gone", "alias lost"]


def test_groups_that_overlap_are_refused():
    with pytest.raises(ValueError, match="two groups"):
        merge(ENTITIES, LINKS, [("a", "b"), ("b", "x")])


def suggestion(left, right):
    return AliasPair((left, right), (left, right), 0.9, 0.9, 0.9, 0.0, ())


def test_a_review_is_on_the_disk_and_goes_on_after_a_restart(tmp_path):
    review = AliasReview(tmp_path, ENTITIES, "me")
    review.accept("b", "a")
    review.reject("a", "x")
    again = AliasReview(tmp_path, ENTITIES, "me")
    assert again.grouped().groups == (("a", "b"),)
    rows = [json.loads(line) for line in again.path.read_text().splitlines()]
    assert [(row["action"], row["names"], row["reviewer"]) for row in rows] == [
        ("accept", ["A", "B"], "me"),
        ("reject", ["A", "X"], "me"),
    ]
    assert all(row["at"] for row in rows)


def test_undo_takes_back_the_own_last_decision_and_is_itself_on_file(tmp_path):
    AliasReview(tmp_path, ENTITIES, "you").accept("x", "y")
    review = AliasReview(tmp_path, ENTITIES, "me")
    review.accept("a", "b")
    assert review.undo().entity_ids == ("a", "b")
    assert review.grouped().groups == (("x", "y"),)
    assert review.undo() is None
    assert len(review.path.read_text().splitlines()) == 3
    assert AliasReview(tmp_path, ENTITIES).grouped().groups == (("x", "y"),)


def test_what_holds_up_a_merging_is_asked_first(tmp_path):
    review = AliasReview(tmp_path, ENTITIES)
    suggestions = [suggestion("a", "y"), suggestion("a", "b"), suggestion("b", "x")]
    assert review.queue(suggestions) == [("a", "y"), ("a", "b"), ("b", "x")]
    review.accept("a", "b")
    review.accept("b", "x")
    assert review.queue(suggestions) == [("a", "x"), ("a", "y")]
    review.reject("a", "x")
    assert review.queue(suggestions) == [("a", "y")]


def test_decisions_that_make_no_sense_are_refused(tmp_path):
    review = AliasReview(tmp_path, ENTITIES)
    with pytest.raises(ValueError, match="no entity with id 'ghost'"):
        review.accept("a", "ghost")
    with pytest.raises(ValueError, match="at least two"):
        review.reject("a", "a")
    assert not review.path.exists()


def test_lines_that_are_no_decisions_are_problems(tmp_path):
    path = tmp_path / "aliases.jsonl"
    good = {"pair_id": "p", "entity_ids": ["a", "b"], "action": "accept"}
    rows = [good, {**good, "action": "burn"}, {**good, "entity_ids": ["a"]}, {**good, "entity_ids": "ab"}, {"x": 1}]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows) + "{cut off")
    decisions, problems = read_alias_decisions(path)
    assert [decision.entity_ids for decision in decisions] == [("a", "b")]
    assert len(problems) == 5
    assert any("unknown action 'burn'" in problem.reason for problem in problems)
    AliasReview(tmp_path, ENTITIES).accept("x", "y")
    assert len(read_alias_decisions(path)[0]) == 2


def test_communities_that_cannot_be_made_again_lose_the_merged_names_and_nothing_else():
    tree = [
        Community("k0", 0, "", ("a", "b", "c"), "All", "A report.", ()),
        Community("k1", 1, "k0", ("b",), "B", "", ()),
    ]
    left = [Entity(name, name, "", "", (), ("x",)) for name in ("a", "c")]
    assert remaining(tree, left) == [Community("k0", 0, "", ("a", "c"), "All", "A report.", ())]
    assert remaining(tree, [*left, Entity("b", "b", "", "", (), ("x",))]) == tree
