"""What a file is that is not an ONNX model, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass

CHOOSE = "Choose the .onnx file."
EXPORT = "Export the model to ONNX first, then add the .onnx file."
EXPORT_TORCH = f"{EXPORT} (`torch.onnx.export`)"
EXPORT_TF = "Convert it to ONNX first: `python -m tf2onnx.convert --saved-model FOLDER --output model.onnx`."
PICKLE = f"{EXPORT} Pickles are never opened: they can run code."
UNPACK = "Unpack it, then add the .onnx file inside."
DECRYPT = "Decrypt it first, then add the .onnx file."
DOWNLOAD = "Download the file again: most likely the link answered with a web page."
SOURCE = "Add the .onnx file that it was made from."
USE_AS_DATA = "Use it as input data: `quickserveml predict MODEL --inputs FILE`."
USE_AS_TABLE = "Run it through a model: `quickserveml batch MODEL FILE`."
SAVE_MODEL = "Save the whole model: `onnx.save(model, path)`, where `model` is a ModelProto."


@dataclass(frozen=True, slots=True)
class Mistaken:
    """A kind of file that is not an ONNX model."""

    what: str
    """Completes “The file is …”."""
    hint: str
    code: str = "model.not_onnx"
