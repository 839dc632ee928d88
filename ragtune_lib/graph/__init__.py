"""Chunks to an entity graph, by rules or by a model.

Its modules, in reading order:

- `name_rules`: which capitalised words are names
- `extract`: chunks to mentions of names and noun phrases, by rules
- `build`: mentions to entities, relationships, communities
- `communities`: title and summary of a community, in sentences of the text
- `entity_types`: the types an entity may have, and what is no entity
- `extract_llm`: chunks to what a model writes down about each
- `build_llm`: its records to entities and relationships
- `community_reports`: a model's report on every community
- `index`: all of it by a model in one call
- `stale`: what rests on text that is gone
- `aliases`: pairs of entities that may be the same
- `alias_merge`: a person's decisions about them, and the graph that follows
- `alias_panel`: the buttons around them
- `events`: the file that decisions about the graph are appended to
- `edits`: a person's corrections
- `evidence`: which sentences name the entities of a graph that came without
- `graphrag_import`: an index that GraphRAG made
- `colours`: what the colours of a picture say
- `drawing`: what a picture shows
- `pictures`: a drawing as SVG and PNG
- `overview`: an index of a large graph, its communities and every part of it
- `coverage`: the pairs and recalled facts of each entity
- `views`: where a person stands in a large graph
- `canvas`: vis-network in a notebook cell
- `cards`: what the side panel says
- `side_panel`: its lists and buttons
- `explorer`: all of it together
- `graphrag_export`: the graph for GraphRAG, Gephi and networkx
- `extraction_score`: precision and recall of the names that any extractor finds
"""
