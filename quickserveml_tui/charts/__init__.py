"""Braille and plotext drawing."""
