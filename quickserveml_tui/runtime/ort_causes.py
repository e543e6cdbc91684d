"""What a family of runtime texts is: how to know it, and the error that it becomes."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from quickserveml_tui.core.errors import ModelUnrunnableError, QuickServeError
from quickserveml_tui.core.text import safe_text
from quickserveml_tui.runtime.ort_text import Said, plain_words

MAX_NAME = 60
MAX_WHY = 200

Sentence: TypeAlias = Callable[["re.Match[str]", Said, str], str]
"""The sentence for a match in what was said, and the runtime's name."""

REPAIR = "Export or download the model again, with its data files beside it."
EXPORT_AGAIN = "Export the model again, and check it where it was exported."
SCHEMA = "Give the inputs the types and shapes that `quickserveml schema` shows."

_FALSE = re.compile(r"^(?P<check>.{1,400}?) was false\. ?(?P<message>.*)$", re.DOTALL)
_RANK = re.compile(r"(\w+?)(?:_(?:shape|dims|tensor))?_?(?:(?:\.|->)Shape\(\))?(?:\.|->)NumDimensions\(\)")
_SIZE = re.compile(r"(\w+)(?:\.|->)size\(\)")
_CAST = re.compile(r"\b(?:static_cast|narrow|SafeInt|onnxruntime::narrow)<[^>]*>\((.*?)\)")
_UNNAMED = re.compile(r" in ?\.?$")  # "… rank 2 but has rank 3 in ." of a node without a name
_NAME_PREFIX = re.compile(r"^(\w+)(?: ?op)? ?: ", re.IGNORECASE)
_TYPE = re.compile(r"\b(?:sparse_)?tensor\((\w+)\)")
_DTYPES = {"float": "float32", "double": "float64"}
_PACKED = re.compile(r"(U?[Ii]nt[24])x[24]$")


@dataclass(frozen=True, slots=True)
class Cause:
    """One family of error texts."""

    pattern: re.Pattern[str]
    error: type[QuickServeError]
    code: str
    message: Sentence
    hint: str
    stages: frozenset[str] = frozenset()
    """Where it must have happened (`Said.stage`), matched against the reason alone; empty: anywhere in the text."""

    status: str = ""
    """The status it must have (`NOT_IMPLEMENTED`); empty: any."""

    def match(self, said: Said) -> re.Match[str] | None:
        """The match in what was said, if this is its family."""
        if (self.stages and said.stage not in self.stages) or self.status not in ("", said.status):
            return None
        return self.pattern.search(said.why if self.stages else said.text)


def cause(
    pattern: str,
    code: str,
    message: str | Sentence,
    hint: str,
    *,
    error: type[QuickServeError] = ModelUnrunnableError,
    stages: str = "",
    status: str = "",
) -> Cause:
    """A family; `stages` are names separated by spaces."""
    sentence: Sentence = (lambda _match, _said, _runtime: message) if isinstance(message, str) else message
    return Cause(re.compile(pattern, re.DOTALL), error, code, sentence, hint, frozenset(stages.split()), status)


def name(value: str | None) -> str:
    """A name out of a text, printable and short."""
    return safe_text((value or "").strip(), MAX_NAME) or "?"


def dtype(value: str) -> str:
    """The ONNX name of a type in the runtime's words: `tensor(float)` is `float32`, `seq(tensor(double))` its like."""
    value = safe_text(value.strip(), 120)
    inner = _TYPE.fullmatch(value)
    if inner:
        return element(inner[1])
    return _TYPE.sub(lambda match: f"tensor({element(match[1])})", value)


def element(value: str) -> str:
    """The ONNX name of an element type in the runtime's words: `double` is `float64`, `Int4x2` is `int4`."""
    return safe_text(_PACKED.sub(r"\1", _DTYPES.get(value, value)).lower(), 40)


def shape(value: str) -> str:
    """`2x3` for the runtime's `{2,3}`; `()` for no dimensions."""
    return "x".join(part.strip() for part in safe_text(value.strip("{}[]() "), 80).split(",") if part.strip()) or "()"


def domain_of(value: str) -> str:
    """` of domain com.acme`, or nothing for the standard domain."""
    return "" if value in ("", "ai.onnx") else f" of domain {name(value)}"


def reason(said: Said, limit: int = MAX_WHY) -> str:
    """The innermost reason in plain words, without the check in C++ that came before it."""
    words = said.why
    failed = _FALSE.match(words)
    if failed:
        words = failed["message"].strip() or f"it requires {_readable(failed['check'])}"
    words = plain_words(_UNNAMED.sub("", words.strip()), limit=limit)
    prefix = _NAME_PREFIX.match(words)
    if prefix and prefix[1].lower() == said.op.lower():
        words = words[prefix.end() :]
    return words or "the runtime gave no reason"


def _readable(check: str) -> str:
    check = _CAST.sub(r"\1", check)
    check = _SIZE.sub(r"length of \1", _RANK.sub(r"rank of \1", check))
    for written, meant in (("&&", "and"), ("||", "or"), ("==", "="), ("->", "."), ("::", ".")):
        check = check.replace(written, meant)
    return re.sub(r"(\w)_\b", r"\1", check)
