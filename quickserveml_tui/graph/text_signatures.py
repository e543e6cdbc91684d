"""Recognise text that stands where a model should: pages of servers, sources of models, tables, notes."""

from __future__ import annotations

import re

from quickserveml_tui.core.text import safe_text
from quickserveml_tui.graph.mistaken import (
    CHOOSE,
    DOWNLOAD,
    EXPORT,
    PICKLE,
    SOURCE,
    USE_AS_TABLE,
    Mistaken,
)

_BINARY = "Choose the binary .onnx file."
_LOGIN = "Sign in first, or use a token, then download the file again: the link answered with a login page."
_TITLE = re.compile(r"<title[^>]*>\s*([^<]{1,200}?)\s*</title", re.IGNORECASE)
_S3 = re.compile(r"<Error>.{0,200}?<Code>([A-Za-z]{1,60})</Code>", re.DOTALL)


def _load_as(name: str) -> str:
    return f'Save it as binary: `onnx.save(onnx.load(path, format="{name}"), "model.onnx")`.'


_ONNX_TEXT = Mistaken("an ONNX model in protobuf's text format", _load_as("textproto"))
_ONNX_SYNTAX = Mistaken("an ONNX model in ONNX's text syntax", _load_as("onnxtxt"))
_ONNX_JSON = Mistaken("an ONNX model written as JSON", _load_as("json"))


def _decoded(head: bytes) -> tuple[str, str] | None:
    """The text of the head, and its encoding where that is not UTF-8; None for what is no text."""
    for bom, encoding in ((b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be")):
        if head.startswith(bom):
            try:
                return head[2 : len(head) - len(head) % 2].decode(encoding, "strict"), "UTF-16"
            except UnicodeDecodeError:
                return None
    for cut in range(4):  # the head may end inside a character of up to four bytes
        try:
            return head[: len(head) - cut].decode("utf-8-sig"), ""
        except UnicodeDecodeError:
            continue
    return None


def text_kind(head: bytes) -> Mistaken | None:
    """What a text is, judged by its first bytes; None where they are no text."""
    found = _decoded(head)
    if found is None:
        return None
    text, encoding = found
    if any(ord(char) < 32 and char not in "\t\n\r\f\x1b" for char in text):
        return None
    if encoding:
        return Mistaken(f"text in {encoding}", _BINARY)
    start = text.lstrip()
    if not start:
        return Mistaken("blank: it holds nothing but white space", "Copy or download the model again.")
    if start.startswith("<"):
        return _markup_kind(start)
    if start.startswith(("{", "[")):
        return _json_kind(start)
    return _plain_kind(start)


def _markup_kind(text: str) -> Mistaken:
    begin = text[:400].lower()
    if begin.startswith(("<!doctype html", "<html", "<head", "<body")) or "<html" in begin:
        return _page_kind(text)
    if text.startswith("<") and re.match(r"<\s*ir_version\s*:", text):
        return _ONNX_SYNTAX
    if error := _S3.search(text):
        return Mistaken(
            f"an error message of a file store ({safe_text(error[1], 60)})",
            "Download the file again: the link has expired, or needs other rights.",
        )
    if "<net " in text and ("<layers" in text or "version=" in text):
        return Mistaken("an OpenVINO model", SOURCE)
    if "<pmml" in begin:
        return Mistaken("a PMML model", EXPORT)
    if begin.startswith("<?xml") or re.match(r"<[a-zA-Z]", text):
        return Mistaken("an XML document", DOWNLOAD)
    return Mistaken("plain text", _BINARY)


def _page_kind(text: str) -> Mistaken:
    title = _TITLE.search(text)
    shown = safe_text(title[1], 60) if title else ""
    words = text.lower()
    called = f" (“{shown}”)" if shown else ""
    if re.search(r"sign in|log ?in|anmelden|authenticat|type=.password", words):
        return Mistaken(f"an HTML page to sign in{called}", _LOGIN)
    if "huggingface.co" in words or "hugging face" in words:
        return Mistaken(
            f"an HTML page of Hugging Face{called}",
            "Download the file itself: its link has /resolve/ where the page's has /blob/.",
        )
    if "github" in words and "/blob/" in words:
        return Mistaken(f"an HTML page of GitHub{called}", "Download the file itself: use the page's raw link.")
    return Mistaken(f"an HTML page{called}", DOWNLOAD)


def _json_kind(text: str) -> Mistaken:
    begin = text[:600]
    if '"irVersion"' in text or '"ir_version"' in text or '"opsetImport"' in text:
        return _ONNX_JSON
    if re.search(r'^\{\s*"(?:error|errors|message|detail|status|statusCode|code|Message)"\s*:', begin):
        return Mistaken("an error message of a server, as JSON", DOWNLOAD)
    if '"model_type"' in text or '"architectures"' in text or '"tokenizer_class"' in text:
        return Mistaken("a configuration that lies beside a model", CHOOSE)
    if '"class_name"' in text and '"config"' in text:
        return Mistaken("a Keras architecture without weights", EXPORT)
    if '"learner"' in text or '"gradient_booster"' in text:
        return Mistaken("an XGBoost model", EXPORT)
    if '"cells"' in begin:
        return Mistaken("a notebook", CHOOSE)
    return Mistaken("JSON text", _BINARY)


_PLAIN: tuple[tuple[re.Pattern[str], Mistaken], ...] = (
    (re.compile(r"ir_version\s*:\s*\d"), _ONNX_TEXT),
    (
        re.compile(r"\S*/?\.git/annex/objects/|/annex/objects/"),
        Mistaken("a git-annex pointer that stands for the model", "Run `git annex get` in its repository."),
    ),
    (
        re.compile(r"outs:\s*\n- (?:md5|etag|hash)"),
        Mistaken("a DVC pointer that stands for the model", "Run `dvc pull` in its repository."),
    ),
    (re.compile(r"7767517\s"), Mistaken("an NCNN model", SOURCE)),
    (re.compile(r"tree\nversion="), Mistaken("a LightGBM model", EXPORT)),
    (re.compile(r"node\s*\{\s*\n?\s*name:"), Mistaken("a TensorFlow graph as text", EXPORT)),
    (re.compile(r"(?:name:.{0,200}\n)?(?:.{0,200}\n)*?layers?\s*\{"), Mistaken("a Caffe network as text", EXPORT)),
    (re.compile(r"(?:ccopy_reg|c__main__|cbuiltins|\(dp0|\(lp0)"), Mistaken("a Python pickle", PICKLE)),
    (re.compile(r"-----BEGIN "), Mistaken("a key, a certificate or an encrypted message", CHOOSE)),
    (re.compile(r"#!"), Mistaken("a script", CHOOSE)),
    (
        re.compile(r"(?:[A-Za-z ]{0,40}: )?(?:403 Forbidden|404 Not Found|404: Not Found|Not Found|Forbidden|"
                   r"Access [Dd]enied|Unauthorized|Entry not found|Repository not found|Invalid username)"),
        Mistaken("an error message of a server", DOWNLOAD),
    ),
    (re.compile(r"(?:---\n(?:.{0,400}\n){0,60}?---|#{1,6} \S)"), Mistaken("notes in Markdown", _BINARY)),
    (re.compile(r"(?:from \S+ import |import \S+|def \w+\(|class \w+)"), Mistaken("a Python program", CHOOSE)),
)  # fmt: skip


def _plain_kind(text: str) -> Mistaken:
    for pattern, kind in _PLAIN:
        if pattern.match(text):
            return kind
    if _is_table(text):
        return Mistaken("a table of text (CSV)", USE_AS_TABLE)
    return Mistaken("plain text", _BINARY)


def _is_table(text: str) -> bool:
    """Whether the first lines have the same number of commas, semicolons or tabs each, and are no sentences."""
    lines = text.splitlines()[:5]
    if len(lines) < 2:
        return False
    lines = lines[:-1] if len(lines) == 5 else lines  # the last one may be cut
    for separator in (",", ";", "\t"):
        counts = {line.count(separator) for line in lines if line}
        # A comma with a blank after it, one a line, is prose.
        if len(counts) == 1 and counts != {0} and (counts != {1} or not all(f"{separator} " in line for line in lines)):
            return True
    return False
