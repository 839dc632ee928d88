"""A model's side of an index, for tests and benchmarks: replies made from the prompt by simple rules.

Entities are the words with a capital inside the sentences of the fenced text, related are neighbours in one sentence.
The second reading finds the words in quotation marks. A summary says how many notes it was made of.
"""

import json
import re
from itertools import pairwise

NAME = re.compile(r"(?<![.!?:\"'\n] )(?<!^)\b[A-Z][a-z]+(?: [A-Z][a-z]+)*", re.MULTILINE)


def reply(messages, schema):
    """The reply to the messages of a call, by its JSON schema."""
    first = messages[0][1]
    fields = schema["properties"]
    if "findings" in fields:
        lines = inside(first).split("\n")
        names = [line.split(": ", 1)[1].split(" (")[0].split(":")[0] for line in lines if line.startswith("entity: ")]
        found = [{"summary": f"{line[:60]}.", "explanation": line[60:160]} for line in lines[:3]]
        title = " and ".join(names[:2]) or "Parts"
        return json.dumps({"title": title, "summary": f"A report of {len(lines)} notes.", "findings": found})
    if "description" in fields:
        notes = inside(first).split("\n")[1:]
        return json.dumps({"description": f"{len(notes)} notes: {notes[0][:80]}"})
    return json.dumps(again(inside(first)) if len(messages) > 1 else read(inside(first)))


def inside(prompt):
    """What stands between the two marks."""
    return re.search(r"^(=== \w{16} ===)\n(.*)\n\1$", prompt, re.MULTILINE | re.DOTALL)[2]


def read(text):
    entities, links = {}, []
    for sentence in re.split(r"(?<=[.!?])\s+", text):
        names = list(dict.fromkeys(NAME.findall(sentence)))
        for name in names:
            told = " ".join(sentence.split())[:200]
            entities.setdefault(name, {"name": name, "type": "person", "description": f"{name}: {told}"})
        for source, target in pairwise(names):
            told = f"{source} and {target} are named together."
            links.append({"source": source, "target": target, "description": told, "strength": 5})
    return {"entities": list(entities.values()), "relationships": links}


def again(text):
    quoted = list(dict.fromkeys(re.findall(r"\"(\w[\w ]{2,30}?\w)\"", text)))
    rows = [{"name": name, "type": "abstract object", "description": f"{name} is quoted."} for name in quoted]
    return {"entities": rows, "relationships": []}


def of_call(call):
    """For `Scripted`."""
    return reply(call.messages, call.schema)


def of_body(body):
    """For `FaultServer`."""
    messages = [(message["role"], message["content"]) for message in body["messages"]]
    return reply(messages, body["response_format"]["json_schema"]["schema"])
