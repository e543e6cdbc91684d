"""The terminal interface; sees services through the ports only."""
