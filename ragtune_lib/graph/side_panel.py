"""The right side of the explorer: what is chosen with its sources, what to correct, aliases, the tree of communities.

Importing this module loads ipywidgets. The texts are made in `cards`; here are the lists and the buttons.
"""

from __future__ import annotations

import html
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from typing import TYPE_CHECKING

import ipywidgets as widgets

from ragtune_lib.graph.alias_merge import AliasReview
from ragtune_lib.graph.canvas import NOBODY
from ragtune_lib.graph.cards import community_card, entity_card, relations_card
from ragtune_lib.graph.drawing import shown, written
from ragtune_lib.graph.views import View
from ragtune_lib.records import AliasPair, Community, Entity, GraphEdit, Relationship

if TYPE_CHECKING:
    from ragtune_lib.graph.explorer import GraphExplorer

BUTTONS = {
    "near": ("Neighbours", "", "what it is linked to"),
    "near_2": ("2 steps", "", "what it is linked to, and what that is linked to"),
    "rename": ("Rename", "", "give it the name in the field"),
    "retype": ("Set type", "", "give it the type in the field"),
    "delete": ("Delete entity", "danger", "it goes with all its relationships"),
    "undo": ("Undo correction", "warning", "take back your last rename, type or deletion"),
    "other_end": ("Go to", "", "the other end of the relation"),
    "unlink": ("Delete relation", "danger", "the relation that is marked in the list"),
    "accept": ("The same", "success", "both names mean one person, place or thing"),
    "reject": ("Different", "", "they are two; do not ask again"),
    "undo_alias": ("Undo", "warning", "take back your last decision about aliases"),
    "open": ("Show entities", "", "draw the community that is marked in the tree"),
}
RELATIONS = 300  # of an entity in the list; the strongest
TREE = 2000  # communities in the tree: the largest
INDENT = "\u2003"  # of a community below another; a list leaves ordinary blanks out
LATEST = 15  # corrections listed
PICTURE = widgets.Layout(height="330px", overflow="auto", border="1px solid #d5d9de", width="auto")
FULL = widgets.Layout(width="98%")
LIST = widgets.Layout(width="98%", height="110px")
ROW = widgets.Layout(flex_flow="row wrap")


class SidePanel:
    """Three tabs beside the canvas.

    Args:
        explorer: whose graph it is.
        review: decisions about aliases; without it there are none.
        suggestions: of aliases.
    """

    def __init__(self, explorer: GraphExplorer, review: AliasReview | None, suggestions: Sequence[AliasPair]):
        self.explorer, self.review = explorer, review
        self.suggested: dict[str, list[AliasPair]] = defaultdict(list)
        for pair in suggestions:
            for one in pair.entity_ids:
                self.suggested[one].append(pair)
        self.entity_id = ""
        self.ends: tuple[str, str] | None = None  # of the relations that are chosen, instead of an entity
        self._filled: object = None
        self.card, self.report, self.history, self.reasons = (widgets.HTML() for _ in range(4))
        self.name, self.kind = widgets.Text(placeholder="name"), widgets.Combobox(placeholder="type")
        for field in (self.name, self.kind):
            field.layout = widgets.Layout(width="200px")
        self.relations = widgets.Select(options=[], layout=LIST)
        self.aliases = widgets.Select(options=[], layout=widgets.Layout(width="98%", height="70px"))
        self.tree = widgets.Select(options=self._tree(), value=None, layout=widgets.Layout(width="98%", height="220px"))
        explorer.on(self.tree, lambda: self.choose_community(self.tree.value) if self.tree.value else None)
        explorer.on(self.aliases, lambda: None)
        self.tabs = self._laid_out(explorer.buttons)

    def _laid_out(self, buttons: Mapping[str, widgets.Button]) -> widgets.Tab:
        def row(*parts: widgets.Widget | str) -> widgets.HBox:
            return widgets.HBox([buttons[part] if isinstance(part, str) else part for part in parts], layout=ROW)

        self.alias_box = widgets.VBox(
            [_head("May be the same as"), self.aliases, self.reasons, row("accept", "reject", "undo_alias")]
        )
        self.edit_box = widgets.VBox(
            [
                row("near", "near_2"),
                _head("Relations"), self.relations, row("other_end", "unlink"),
                self.alias_box,
                _head("Correct"), row(self.name, "rename"), row(self.kind, "retype"), row("delete"),
            ]
        )  # fmt: skip
        chosen = widgets.VBox([widgets.VBox([self.card], layout=PICTURE), self.edit_box])
        report = widgets.VBox([self.report], layout=PICTURE)
        communities = widgets.VBox([self.tree, row("open"), report])
        done = widgets.VBox([row("undo"), self.history])
        titles = ("Chosen", "Communities", "Corrections")
        return widgets.Tab([chosen, communities, done], titles=titles, layout=FULL)

    def actions(self) -> Mapping[str, Callable[[], None]]:
        """What each button of this side does."""
        return {
            "near": lambda: self.explorer.go(View("near", self._entity().id)),
            "near_2": lambda: self.explorer.go(View("near", self._entity().id, 2)),
            "rename": lambda: self._edit(lambda edits: edits.rename(self._entity(), self.name.value)),
            "retype": lambda: self._edit(lambda edits: edits.retype(self._entity(), self.kind.value)),
            "delete": self._delete,
            "undo": self._undo,
            "other_end": self._other_end,
            "unlink": self._unlink,
            "accept": lambda: self._alias("accept"),
            "reject": lambda: self._alias("reject"),
            "undo_alias": self._undo_alias,
            "open": self._open,
        }

    def choose_entity(self, entity_id: str) -> None:
        """Show an entity.

        Raises:
            ValueError: if there is none of this id.
        """
        self.explorer.index.entity(entity_id)
        self.entity_id, self.ends = entity_id, None
        self.tabs.selected_index = 0

    def choose_relations(self, source: str, target: str) -> None:
        """Show all relations of two entities."""
        self.ends, self.entity_id = (source, target), source
        self.tabs.selected_index = 0

    def choose_community(self, community_id: str) -> None:
        """Show the report of a community and mark it in the tree."""
        index = self.explorer.index
        community = index.communities[community_id]
        part = index.members(community_id, limit=40)
        self.report.value = community_card(community, index.group_name(community_id), part.entities, part.whole)
        if community_id in [value for _, value in self.tree.options]:
            self.explorer.set(self.tree, value=community_id)
        self.tabs.selected_index = 1

    def _tree(self) -> list[tuple[str, str]]:
        """Every community below its parent, larger ones first."""
        index = self.explorer.index
        largest = sorted(index.communities.values(), key=lambda one: (one.level, -len(one.entity_ids), one.id))[:TREE]
        known, children = {one.id for one in largest}, defaultdict(list)
        for community in largest:
            children[community.parent_id if community.parent_id in known else ""].append(community)
        found: list[tuple[str, str]] = []
        waiting: list[tuple[int, Community]] = [(0, one) for one in reversed(children[""])]
        while waiting:
            depth, community = waiting.pop()
            label = f"{shown(index.group_name(community.id), 60)} ({len(community.entity_ids):,})"
            found.append((f"{INDENT * depth}{label}", community.id))
            waiting += [(depth + 1, one) for one in reversed(children[community.id]) if one.id != community.id]
        return found

    def _entity(self) -> Entity:
        if not self.entity_id:
            raise ValueError("no entity is chosen: click one, or search for it")
        return self.explorer.index.entity(self.entity_id)

    def _edit(self, write: Callable[..., GraphEdit]) -> None:
        write(self.explorer.edits)
        self.explorer.changed()

    def _delete(self) -> None:
        self._edit(lambda edits: edits.delete(self._entity()))
        self.entity_id, self.ends = "", None

    def _undo(self) -> None:
        undone = self.explorer.edits.undo()
        if undone is None:
            raise ValueError("you have no correction to undo")
        self.explorer.changed()
        if undone.action != "unlink" and undone.about in self.explorer.index.place:
            self.choose_entity(undone.about)

    def _relation(self) -> Relationship:
        found = next((link for link in self._links() if link.id == self.relations.value), None)
        if found is None:
            raise ValueError("no relation is marked in the list")
        return found

    def _links(self) -> list[Relationship]:
        if not self.entity_id:
            return []
        links = self.explorer.index.relations(self.entity_id)
        return [link for link in links if self.ends is None or {link.source, link.target} == set(self.ends)]

    def _other_end(self) -> None:
        link = self._relation()
        other = link.target if link.source == self.entity_id else link.source
        self.choose_entity(other)
        if not self.explorer.is_drawn(other):
            self.explorer.go(View("near", other))

    def _unlink(self) -> None:
        link = self._relation()
        names = [self.explorer.index.entity(end).name for end in (link.source, link.target)]
        self._edit(lambda edits: edits.unlink(link, names))

    def _alias(self, action: str) -> None:
        if self.review is None or not self.aliases.value:
            raise ValueError("no name is marked in the list of aliases")
        (self.review.accept if action == "accept" else self.review.reject)(self.entity_id, self.aliases.value)

    def _undo_alias(self) -> None:
        if self.review is None or self.review.undo() is None:
            raise ValueError("you have no decision about aliases to undo")

    def _open(self) -> None:
        if not self.tree.value:
            raise ValueError("no community is marked in the tree")
        self.explorer.open_community(self.tree.value)

    def draw(self) -> None:
        """Show what is chosen as it is now."""
        events, decided = self.explorer.edits.events, self.review.events if self.review else ()
        if (key := (self.entity_id, self.ends, len(events), len(decided))) != self._filled:
            self._filled = key
            self._fill_card()
            self._fill_aliases()
            self._fill_history()
        self._fill_reasons()
        marked = self.entity_id and self.ends is None and self.explorer.is_drawn(self.entity_id)
        self.explorer.canvas.marked = self.entity_id if marked else NOBODY

    def _fill_card(self) -> None:
        self.edit_box.layout.display = "" if self.entity_id else "none"
        if not self.entity_id:
            self.card.value = "<p>Click a community, then an entity; or search for a name.</p>"
            return
        index, entity, links = self.explorer.index, self._entity(), self._links()
        names = {end: index.entity(end).name for link in links for end in (link.source, link.target)}
        chunks, documents = self.explorer.chunks, {one.id: one for one in self.explorer.documents}
        if self.ends is not None and links:
            self.card.value = relations_card(links, names, chunks, documents)
        else:
            source = self.explorer.before.entity(entity.id)
            degree, groups = index.degrees([entity.id])[entity.id], index.communities_of(entity.id)
            spelt, coverage = {entity.name, source.name}, self.explorer.coverage()
            self.card.value = entity_card(entity, degree, spelt, chunks, documents, groups, coverage, source)
        marked = self.relations.value
        options = [(self._told(link, names), link.id) for link in links[:RELATIONS]]
        here = marked if marked in [link.id for link in links[:RELATIONS]] else None
        self.explorer.set(self.relations, options=options, value=here or (links[0].id if links else None))
        self.name.value, self.kind.value = entity.name, entity.kind
        self.kind.options = tuple(index.kinds()[:100])

    def _told(self, link: Relationship, names: Mapping[str, str]) -> str:
        other = link.target if link.source == self.entity_id else link.source
        text = f"{shown(names[other], 40)}, weight {link.weight:g}"
        return f"{text}: {shown(written(link), 60)}" if written(link) else text

    def _fill_aliases(self) -> None:
        found = self._aliases()
        self.alias_box.layout.display = "" if found else "none"
        marked = self.aliases.value
        keep = marked if marked in found else next(iter(found), None)
        options = [(f"{shown(self._called(one), 40)}: {state}", one) for one, state in found.items()]
        self.explorer.set(self.aliases, options=options, value=keep)

    def _aliases(self) -> dict[str, str]:
        """The other entity of each suggestion about this one, and what was decided."""
        if self.review is None or not self.entity_id:
            return {}
        verdicts = {
            pair: event.action for event in self.review.standing() for pair in combinations(event.entity_ids, 2)
        }
        about = [pair.entity_ids for pair in self.suggested[self.entity_id]]
        about += [pair for pair in (*self.review.grouped().open, *verdicts) if self.entity_id in pair]
        words = {"accept": "the same", "reject": "different"}
        return {
            next(one for one in pair if one != self.entity_id): words.get(verdicts.get(pair, ""), "undecided")
            for pair in about
        }

    def _called(self, entity_id: str) -> str:
        return self.review.names.get(entity_id, entity_id) if self.review else entity_id

    def _fill_reasons(self) -> None:
        pairs = (pair for pair in self.suggested[self.entity_id] if self.aliases.value in pair.entity_ids)
        reasons = next((pair.reasons for pair in pairs), ())
        self.reasons.value = html.escape("; ".join(reasons)) + (
            "<br><i>Run the cells from the aliases on once more to have accepted ones merged.</i>"
            if self.review and "accept" in {event.action for event in self.review.standing()}
            else ""
        )

    def _fill_history(self) -> None:
        standing = self.explorer.edits.standing()
        rows = "".join(f"<li>{html.escape(_in_words(event))}</li>" for event in reversed(standing[-LATEST:]))
        more = f"<p>and {len(standing) - LATEST} before these</p>" if len(standing) > LATEST else ""
        note = "Communities and tables follow when the cells below are run once more." if standing else "None so far."
        self.history.value = f"<p>{note}</p><ul>{rows}</ul>{more}"


def _head(text: str) -> widgets.HTML:
    return widgets.HTML(f"<b>{html.escape(text)}</b>")


def _in_words(event: GraphEdit) -> str:
    name, value = shown(event.name or event.about, 60), shown(event.value, 60) if event.value else "no type"
    told = {"rename": f"{name} is now {value}", "retype": f"{name}: {value}", "delete": f"{name} deleted"}
    by = f", {event.reviewer}" if event.reviewer else ""
    return f"{told.get(event.action, f'{name}: relation deleted')} ({event.at[:16].replace('T', ' ')}{by})"
