"""Optional extras, one module each."""
