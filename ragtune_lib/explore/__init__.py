"""Looking at a graph of any size, and correcting it.

Its modules, in reading order:

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
"""
