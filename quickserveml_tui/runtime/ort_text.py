"""The runtime's error texts, read: where it happened, to which node, and why, without sources and folders."""

from __future__ import annotations

import re
import tempfile
from dataclasses import dataclass
from pathlib import Path

from quickserveml_tui.core.text import safe_text

MAX_SENTENCE = 300
MAX_READ = 16_000
"""Characters of a text that are looked at: a name of a million characters costs no time."""

_PREFIX = re.compile(r"\s*\[ONNXRuntimeError\] : \d+ : (?P<status>[A-Z_]+) : ")
_LOAD = re.compile(r"Load model from .*? failed:", re.DOTALL)
_LOCATION = re.compile(r"(?<!\S)\S*\w\.(?:cc|h|cpp|hpp|cu|cuh|inc):\d+:? ?")
_LAMBDA = re.compile(r"::<lambda[^>]*>|\s+const\b|\s+\[with [^\]]*\]|::operator\(\)")
_WORD = re.compile(r"[A-Za-z_]\w* ")
_ADDRESS = re.compile(r"\b0x[0-9a-fA-F]{6,}\b")
_STACK = re.compile(r"\s*(?:Stacktrace|Traceback \(most recent call last\)):.*", re.DOTALL)
_ADVICE = re.compile(
    r"Please fix either the inputs/outputs or the model\.|Please, fix your model\.|"
    r"This is an invalid model\.|Invalid model\.|\bError: |model format error!|Fatal error: "
)

_IN_NODE = re.compile(
    r'In Node, \("(?P<name>[^"]*)", (?P<op>[^,]*), "(?P<domain>[^"]*)", -?\d+\) : .*? , Error (?P<why>.*)', re.DOTALL
)
_INFERENCE = re.compile(
    r"Node \((?P<name>.*?)\) Op \((?P<op>[^)]*)\) \[(?P<kind>Shape|Type)InferenceError\] ?(?P<why>.*)", re.DOTALL
)
_RUN = re.compile(
    r"Non-zero status code returned while running (?P<op>\S+) node\. Name:'(?P<name>[^']*)' Status Message: ?"
)
_PREPARING = re.compile(r"Exception (?:during initialization|caught): ?(?P<why>.*)", re.DOTALL)
_FOLDER_ROOTS = "home|root|tmp|usr|var|opt|mnt|media|srv|etc|proc|dev|run|private|Users|Volumes|Library"


@dataclass(frozen=True, slots=True)
class Said:
    """What the runtime said, taken apart."""

    text: str
    """The whole text without sources, signatures and the prefix of its status."""
    why: str
    """The innermost reason alone."""
    status: str = ""
    """`INVALID_GRAPH` and so on; empty for texts of the Python binding."""
    stage: str = ""
    """`node` (the node is not valid), `shape` or `type` (inference), `prepare`, `run`; empty where no node is known."""
    op: str = ""
    node: str = ""
    domain: str = ""

    @property
    def where(self) -> str:
        """`Pad “/stft/Pad”`, `Pad`, or nothing."""
        if not self.op:
            return ""
        op = safe_text(f"{self.domain}:{self.op}" if self.domain not in ("", "ai.onnx") else self.op, 60)
        return f"{op} “{safe_text(self.node, 60)}”" if self.node.strip() else op


def is_output_text(error: BaseException) -> bool:
    """Whether the binding failed on a string that the model gave: the bytes are the model's, and no error text."""
    return isinstance(error, UnicodeDecodeError) and not bytes(error.object[:64]).lstrip().startswith(
        b"[ONNXRuntimeError]"
    )


def message_of(error: BaseException) -> str:
    """The runtime's words in an exception; the type's name as well where the words alone say little."""
    if isinstance(error, UnicodeDecodeError):
        # The binding could not make a str of the text, because a name in it is not UTF-8.
        return bytes(error.object[:MAX_READ]).decode("utf-8", "replace")
    text = str(error)
    return f"{type(error).__name__}: {text}" if isinstance(error, MemoryError | RecursionError) or not text else text


def read_text(text: str) -> Said:
    """The parts of an error text of the runtime; whatever is not recognised stays in `why`."""
    text = text[:MAX_READ]
    prefix = _PREFIX.match(text)
    status = prefix["status"] if prefix else ""
    body = strip_locations(_PREFIX.sub(" ", _LOAD.sub("", text))).strip()
    for stage, pattern in (("node", _IN_NODE), ("inference", _INFERENCE)):
        match = pattern.search(body)
        if match:
            while stage == "inference" and (inner := _INFERENCE.search(match["why"])):
                match = inner
            kind = match["kind"].lower() if stage == "inference" else stage
            domain = match["domain"] if stage == "node" else ""
            return Said(body, _innermost(match["why"]), status, kind, match["op"], match["name"], domain)
    runs = list(_RUN.finditer(body))
    if runs:
        last = runs[-1]
        return Said(body, _innermost(body[last.end() :]), status, "run", last["op"], last["name"])
    match = _PREPARING.search(body)
    if match:
        return Said(body, _innermost(match["why"]), status, "prepare")
    return Said(body, _innermost(body), status)


def _innermost(why: str) -> str:
    why = _STACK.sub("", why)
    match = _PREPARING.search(why)
    return (match["why"] if match else why).strip()


def _skip_parentheses(text: str, start: int) -> int:
    depth = 0
    for index in range(start, len(text)):
        depth += (text[index] == "(") - (text[index] == ")")
        if depth == 0:
            return index + 1
    return len(text)


def _skip_function(text: str, start: int) -> int:
    """Index after the function name, with signature if there is one, that follows a source location."""
    opening = text.find("(", start)
    if opening != -1 and "::" in text[start:opening] and "\n" not in text[start:opening]:
        end = _skip_parentheses(text, opening)
        trailer = _LAMBDA.match(text, end)
        while trailer:
            end = trailer.end()
            if text[end : end + 1] == "(":
                end = _skip_parentheses(text, end)
            trailer = _LAMBDA.match(text, end)
        return end
    word = _WORD.match(text, start)
    return word.end() if word else start


def strip_locations(text: str) -> str:
    """`text` without `file.cc:12 Function(...)` of the runtime's sources."""
    parts = []
    position = 0
    for match in _LOCATION.finditer(text):
        if match.start() < position:
            continue
        parts.append(text[position : match.start()])
        position = _skip_function(text, match.end())
        position += len(text[position : position + 8]) - len(text[position : position + 8].lstrip())
    return "".join([*parts, text[position:]])


def strip_paths(text: str, path: Path | None) -> str:
    """`text` in which the model's folder and the user's home no longer show.

    Other absolute paths stay: exporters name nodes like paths, and a reader needs those names.
    """
    folders = [Path.home(), Path(tempfile.gettempdir())]
    if path is not None:
        folders = [path.absolute().parent, path.resolve().parent, path.parent, *folders]
    for folder in folders:
        prefix = str(folder).rstrip("/\\")
        if len(prefix) > 1:
            text = re.sub(re.escape(prefix) + r"(?:[/\\]|(?=[\"'\s]|$))", "", text)
    return text


def _strip_folders(text: str) -> str:
    """`text` in which a path of a machine is its last part; names like `/encoder/layer.0/Add` stay."""
    text = re.sub(rf"(?<![\w./-])/(?:{_FOLDER_ROOTS})/(?:[^\s\"'<>|:;,/]+/)*", "", text)
    return re.sub(r"(?<!\w)[A-Za-z]:\\(?:[^\s\"'<>|:;,\\]+\\)*", "", text)


def plain_words(text: str, path: Path | None = None, limit: int = MAX_SENTENCE) -> str:
    """`text` in one printable line of at most `limit` characters, without folders, addresses and empty phrases."""
    text = _strip_folders(strip_paths(strip_locations(text[:MAX_READ]), path))
    text = _ADVICE.sub("", _ADDRESS.sub("…", text))
    text = safe_text(re.sub(r"\s+", " ", text).strip(), limit).strip(" :.,;")
    return text.removeprefix("Error ")


def as_sentence(text: str, *, capital: bool = False) -> str:
    """`text` with a full stop, and a capital letter where it is asked for, of at most 300 characters."""
    text = safe_text(text, MAX_SENTENCE).strip()
    if not text:
        return "The runtime gave no reason."
    if len(text) >= MAX_SENTENCE and text[-1] not in ".!?…":
        text = f"{text[: MAX_SENTENCE - 1]}…"
    first = text[0].upper() if capital else text[0]
    return f"{first}{text[1:]}{'' if text[-1] in '.!?…' else '.'}"


def one_sentence(text: str, path: Path | None = None) -> str:
    """The runtime's words as one printable sentence of at most 300 characters."""
    return as_sentence(plain_words(_LOAD.sub("", _PREFIX.sub("", text[:MAX_READ])), path), capital=True)
