"""Community reports by a model, bottom-up: title, summary and findings of every group of the graph.

After GraphRAG (Edge et al. 2024, arXiv 2404.16130, section 3.1): the best connected links and their ends come first
into the prompt; a group whose members do not fit is shown by the reports about its parts, the largest part first.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from ragtune_lib.graph.communities import describe_communities
from ragtune_lib.graph.extract_llm import ask_on
from ragtune_lib.llm import Call, Model, prompt
from ragtune_lib.llm.cost import CHARACTERS
from ragtune_lib.llm.replies import TEXT, fields
from ragtune_lib.prompt_files import fenced, template
from ragtune_lib.records import Community, Entity, Problem, Relationship

MAX_INPUT, MAX_TOKENS = 8_000, 2_000  # tokens of members and links in a prompt, and of a report, as in the paper
FINDINGS = 8
STAGE = "community reports"
REPORT = fields(title=TEXT, summary=TEXT, findings={"type": "array", "items": fields(summary=TEXT, explanation=TEXT)})


def write_reports(
    model: Model,
    communities: Sequence[Community],
    entities: Sequence[Entity],
    relationships: Sequence[Relationship],
    max_input: int = MAX_INPUT,
) -> tuple[list[Community], list[Problem]]:
    """Have a model write a report about every community.

    Links are ordered by the sum of the degrees of their ends in the whole graph, highest first; each is preceded by
    those of its ends that were not shown yet. If that is too long, the reports about the parts of the community take
    the place of what is inside them, the longest part first, until the rest fits. What still does not fit is left out
    at the end, which is a problem. A report depends on nothing but what is shown to the model, so a change elsewhere
    in the graph leaves it as it is.

    Args:
        model: of the seam.
        communities: as `build.detect_communities` gives them.
        entities: all entities of the graph.
        relationships: all links of the graph.
        max_input: tokens of members, links and reports in a prompt, taken as four characters each.

    Returns:
        The communities in the same order, with title, summary (the findings follow it, one a line) and the evidence
        that `communities.describe_communities` chooses. One whose call failed keeps title and summary from there, and
        is a problem.

    Raises:
        StageError: if no call can succeed (key, model, quota, server).
    """
    written = {one.id: one for one in describe_communities(communities, entities, relationships)}
    graph = _Graph(communities, entities, relationships)
    window = int(max_input * CHARACTERS)
    problems: list[Problem] = []
    waiting = dict.fromkeys(one.id for one in communities)
    while waiting:
        # one that fits needs no other report, and one that does not waits for those about its parts
        ready = [one for one in waiting if graph.size[one] <= window or waiting.keys().isdisjoint(graph.parts[one])]
        calls = []
        for one in ready:
            del waiting[one]
            shown = graph.fitted(one, written, window)
            kept = _cut(shown, window)
            if len(kept) < len(shown):
                reason = f"{len(shown) - len(kept)} of {len(shown)} notes did not fit into the prompt of its report"
                problems.append(Problem(STAGE, one, reason))
            text = template("community_report").substitute(findings=FINDINGS, notes=fenced("\n".join(kept)))
            calls.append(Call(one, prompt(text), MAX_TOKENS, schema=REPORT))
        asked = ask_on(model, STAGE, calls)
        problems += asked.problems
        for result in asked.results:
            one = result.call.item
            written[one] = _with_report(written[one], result.reply.data)
            if not _line(result.reply.data["summary"]):
                problems.append(Problem(STAGE, one, "the report has no summary", result.reply.text))
    return [written[one.id] for one in communities], problems


def _with_report(community: Community, report: Mapping[str, Any]) -> Community:
    findings = (_line(f"{found['summary'].strip()} {found['explanation']}") for found in report["findings"])
    summary = "\n".join(text for text in (_line(report["summary"]), *findings) if text)
    return replace(community, title=_line(report["title"]) or community.title, summary=summary or community.summary)


class _Graph:
    """The graph by community: parts, members, links inside, and how they are shown to the model."""

    def __init__(
        self, communities: Sequence[Community], entities: Sequence[Entity], relationships: Sequence[Relationship]
    ):
        self.members = {one.id: one.entity_ids for one in communities}
        self.parts: dict[str, list[str]] = defaultdict(list)
        self.entities = {entity.id: entity for entity in entities}
        self.degree = Counter(end for link in relationships for end in (link.source, link.target))
        self.links: dict[str, list[Relationship]] = defaultdict(list)
        homes: dict[str, dict[int, str]] = defaultdict(dict)  # entity: level: community
        for one in communities:
            if one.parent_id:
                self.parts[one.parent_id].append(one.id)
            for member in one.entity_ids:
                homes[member][one.level] = one.id
        for link in relationships:
            for home in homes[link.source].items() & homes[link.target].items():
                self.links[home[1]].append(link)
        self.size = {one.id: _length(self.lines(one.id).values()) for one in communities}  # characters

    def lines(self, community: str, without: Iterable[str] = ()) -> dict[str, str]:
        """What is shown of a community, by the id of entity or link: best connected first, without these parts."""
        hidden = {found for part in without for found in (*self.members[part], *(link.id for link in self.links[part]))}
        shown: dict[str, str] = {}
        for link in sorted(self.links[community], key=self._rank):
            ends = self.entities[link.source], self.entities[link.target]
            if link.id in hidden:
                continue
            shown |= {end.id: _entity_line(end) for end in ends if end.id not in hidden and end.id not in shown}
            shown[link.id] = f"relationship: {ends[0].name} and {ends[1].name}: {_line(link.description)}"
        alone = (self.entities[one] for one in self.members[community] if one not in hidden and one not in shown)
        return shown | {one.id: _entity_line(one) for one in sorted(alone, key=lambda one: (one.name, one.id))}

    def _rank(self, link: Relationship) -> tuple:
        """By names and not by ids or places, which say nothing and might change."""
        combined = self.degree[link.source] + self.degree[link.target]
        return -combined, *sorted((self.entities[link.source].name, self.entities[link.target].name)), link.id

    def fitted(self, community: str, written: Mapping[str, Community], window: int) -> list[str]:
        """The lines of a community, with reports in the place of its parts as far as need be."""
        lines = self.lines(community)
        reports: list[str] = []
        replaced: list[str] = []
        for part in sorted(self.parts[community], key=lambda part: (-self.size[part], written[part].title, part)):
            if _length(reports) + _length(lines.values()) <= window:
                break
            report = f"report: {written[part].title}: {_line(written[part].summary)}"
            if len(report) < self.size[part]:
                reports.append(report)
                replaced.append(part)
                lines = self.lines(community, replaced)
        return [*reports, *lines.values()]


def _entity_line(entity: Entity) -> str:
    kind = f" ({entity.kind})" if entity.kind else ""
    return f"entity: {entity.name}{kind}: {_line(entity.description)}"


def _line(text: str) -> str:
    return " ".join(text.split())


def _length(lines: Iterable[str]) -> int:
    return sum(len(line) + 1 for line in lines)


def _cut(lines: Sequence[str], window: int) -> list[str]:
    """The first lines that fit; the very first is always there, cut if it must be."""
    kept, room = [line[:window] for line in lines[:1]], window - _length(lines[:1])
    for line in lines[1:]:
        room -= len(line) + 1
        if room < 0:
            break
        kept.append(line)
    return kept
