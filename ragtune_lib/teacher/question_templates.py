"""Forms of the questions whose answer is a description of the index: six per entity type, nine for two entities.

The paper (RAG-Tuned-LLM, arXiv 2503.16071) has six per type and nine for relations; these are worded anew. A type that
is not among the six gets the last ones.
"""

from __future__ import annotations

ENTITY = {
    "organization": (
        "What kind of organization is {name}, and what does it do?",
        "What is known about {name} and its work?",
        "What role does {name} play?",
        "Describe {name} as an organization.",
        "What should one know about {name}?",
        "How would you introduce {name} to somebody new?",
    ),
    "person": (
        "Who is {name}?",
        "What is known about {name}?",
        "What does {name} do, and why does it matter?",
        "Describe {name} to somebody who never met them.",
        "What part does {name} have in what happens?",
        "How would you sum up who {name} is?",
    ),
    "geo": (
        "What kind of place is {name}?",
        "Where does {name} come in, and what happens there?",
        "What is known about {name}?",
        "Why does {name} matter as a place?",
        "Describe {name} and what goes on there.",
        "What would you tell somebody about {name}?",
    ),
    "event": (
        "What happened at {name}?",
        "What was {name} about?",
        "How did {name} come about, and who took part?",
        "Why was {name} of importance?",
        "Describe the course of {name}.",
        "Sum up what is known about {name}.",
    ),
    "specific object": (
        "What is {name}?",
        "What is {name} used for, or good for?",
        "Describe {name}.",
        "What is the story of {name}?",
        "Where does {name} come up, and why?",
        "What makes {name} worth mentioning?",
    ),
    "abstract object": (
        "What is meant by {name}?",
        "What does {name} stand for here?",
        "Explain {name} in a few sentences.",
        "What is said about {name}?",
        "Why does {name} matter?",
        "How should one understand {name}?",
    ),
}
OTHER = (
    "What is known about {name}?",
    "Who or what is {name}?",
    "Describe {name}.",
    "What is there to say about {name}?",
    "What does {name} have to do with the rest?",
    "Sum up what you know about {name}.",
)
RELATION = (
    "What is the relation between {a} and {b}?",
    "How are {a} and {b} connected?",
    "What links {a} to {b}?",
    "What do {a} and {b} have to do with each other?",
    "Describe how {a} and {b} belong together.",
    "In what way is {a} involved with {b}?",
    "What happened between {a} and {b}?",
    "What is known about {a} together with {b}?",
    "Explain the connection of {a} with {b}.",
)


def entity_forms(kind: str) -> tuple[str, ...]:
    """The question forms for an entity type, whatever its case."""
    return ENTITY.get(kind.strip().lower(), OTHER)
