"""Tables and reports as CSV, JSON and Markdown."""
