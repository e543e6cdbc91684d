"""Runs models; the only importer of `onnxruntime`."""
