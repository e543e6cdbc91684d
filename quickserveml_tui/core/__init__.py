"""Domain types, ports and pure functions; knows no store, no runtime and no front."""
