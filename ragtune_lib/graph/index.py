"""The whole index by a model: chunks to entities, relationships and communities with reports.

    model = open_model("openai:gpt-4o-mini", folder / "calls.sqlite", budget=2.0)
    print(forecast_extraction(model, chunks))       # calls, tokens and money; nothing is sent
    entities, relationships, communities, problems = index_chunks(model, chunks)

Every prompt is made of the texts it is about and nothing else: no ids, no places in the corpus. So when documents are
added, changed or deleted, the calls that do not depend on them have their replies already, and a second run on the same
corpus asks nothing. What was made from documents that are gone is named by `stale`.
"""

from __future__ import annotations

from collections.abc import Sequence

from ragtune_lib.graph.build import detect_communities
from ragtune_lib.graph.build_llm import LIMIT, merge, summarize
from ragtune_lib.graph.community_reports import MAX_INPUT, write_reports
from ragtune_lib.graph.entity_types import ENTITY_TYPES
from ragtune_lib.graph.extract_llm import extract, extraction_calls
from ragtune_lib.llm import Model
from ragtune_lib.llm.cost import Forecast
from ragtune_lib.records import Chunk, Community, Entity, Problem, Relationship


def forecast_extraction(
    model: Model, chunks: Sequence[Chunk], types: Sequence[str] = ENTITY_TYPES, gleanings: int = 1
) -> Forecast:
    """Calls, tokens and money of the extraction, gleanings included; nothing is sent.

    Summaries and reports come on top: how many there are is known when the graph is.

    Args:
        model: of the seam.
        chunks: what will be read.
        types: as for `index_chunks`.
        gleanings: likewise.
    """
    return model.forecast(extraction_calls(model, chunks, types, gleanings))


def extract_graph(
    model: Model,
    chunks: Sequence[Chunk],
    types: Sequence[str] = ENTITY_TYPES,
    gleanings: int = 1,
    description_limit: int = LIMIT,
) -> tuple[list[Entity], list[Relationship], list[Problem]]:
    """The entities and relationships of `index_chunks`, whose arguments and errors it has.

    Between them and their communities a person may say which entities are the same (`alias_merge`).
    """
    found, links, problems = extract(model, chunks, types, gleanings)
    entities, relationships, descriptions = merge(found, links, chunks)
    entities, relationships, troubles = summarize(model, entities, relationships, descriptions, description_limit)
    return entities, relationships, problems + troubles


def index_chunks(
    model: Model,
    chunks: Sequence[Chunk],
    types: Sequence[str] = ENTITY_TYPES,
    gleanings: int = 1,
    description_limit: int = LIMIT,
    max_cluster_size: int = 10,
    report_input: int = MAX_INPUT,
    seed: int = 17,
) -> tuple[list[Entity], list[Relationship], list[Community], list[Problem]]:
    """Build the graph of a corpus with a model: `extract_graph`, then communities and their reports.

    Killed at any moment and started again, it makes no finished call again and ends with the same graph.

    Args:
        model: of the seam.
        chunks: of the corpus, in reading order.
        types: entity types, see `extract_llm.extract`.
        gleanings: further readings of each chunk for what was missed.
        description_limit: characters of joined descriptions beyond which the model makes one of them.
        max_cluster_size: see `build.detect_communities`.
        report_input: tokens in the prompt of a report, see `community_reports.write_reports`.
        seed: of the communities.

    Returns:
        Entities, relationships and communities as `build.build_graph` and `communities.describe_communities` give
        them, and every problem: calls that failed, records that could not be used. Empty lists for an empty corpus.

    Raises:
        StageError: if no chunk could be read, or no call can succeed (key, model, quota, server). What was finished
            is kept for the next run.
    """
    entities, relationships, problems = extract_graph(model, chunks, types, gleanings, description_limit)
    communities = detect_communities(entities, relationships, max_cluster_size, seed)
    communities, troubles = write_reports(model, communities, entities, relationships, report_input)
    return entities, relationships, communities, problems + troubles
