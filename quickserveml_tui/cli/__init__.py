"""Commands; a front that only translates."""
