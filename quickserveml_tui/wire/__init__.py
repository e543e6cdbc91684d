"""Inference codecs shared by server and load generator."""
