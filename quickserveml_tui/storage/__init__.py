"""Registry, artifacts and state on disk; the only importer of `tinydb`."""
