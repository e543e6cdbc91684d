"""Use cases, one module each; know no interface and no protocol."""
