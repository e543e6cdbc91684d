"""Inference server: hot path, protocols, limits, metrics."""
