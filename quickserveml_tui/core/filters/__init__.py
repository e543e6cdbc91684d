"""One filter grammar for catalog, commands and API: text to tree to predicate, with completion; see `docs/filters.md`.

`syntax` holds the tree and its limits, `parse` reads it, `fields` describes what can be asked for, `build` turns a
tree into a predicate over rows, `complete` says how a text can go on. Nothing here knows a catalog or a front.
"""
