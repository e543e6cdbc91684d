"""Reads ONNX files without running them; the only importer of `onnx`."""
