"""The one gate between outside strings and a terminal, log, report or markup."""

from __future__ import annotations

import re
import shlex
import unicodedata

MAX_TEXT = 4096

# Format characters (Cf) hide or reorder text: bidi controls, zero-width characters, tags. Surrogates (Cs) cannot
# be encoded; private use and unassigned code points (Co, Cn) have no defined width.
_DROPPED = {"Cc", "Cf", "Cs", "Co", "Cn"}
# Letters and marks that show nothing: fillers, joiners, variation selectors (Unicode: Default_Ignorable_Code_Point).
_INVISIBLE = frozenset(
    map(chr, (0x34F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x3164, 0xFFA0, *range(0x180B, 0x1810), *range(0xFE00, 0xFE10)))
) | frozenset(map(chr, range(0xE0100, 0xE01F0)))
_MARKS = {"Mn", "Me"}
MAX_MARKS = 4
"""Most marks on one letter: enough for every script, too few to paint over the lines above and below."""


def safe_text(value: object, limit: int = MAX_TEXT) -> str:
    """`value` as one printable line of at most `limit` characters.

    Line breaks and tabs become a space; C0, C1, bidi, zero-width and other invisible characters are dropped, so no
    escape sequence survives. Markup is kept as text: pass the result to Textual or Rich as a `Text`, never as a string
    that is parsed for markup.
    """
    if limit <= 0:
        return ""
    text = value if isinstance(value, str) else str(value)
    clipped = text[: limit * 2]
    kept = []
    marks = 0
    for char in clipped:
        if char.isascii():
            if char.isprintable():
                kept.append(char)
            elif char in "\t\n\r\v\f":
                kept.append(" ")
            marks = 0
            continue
        if char in "\x85\u2028\u2029":
            kept.append(" ")
            continue
        category = unicodedata.category(char)
        marks = marks + 1 if category in _MARKS else 0
        if category not in _DROPPED and char not in _INVISIBLE and marks <= MAX_MARKS:
            kept.append(char)
    result = "".join(kept)
    if len(result) > limit or len(text) > len(clipped):
        return result[: limit - 1] + "…"
    return result


def safe_lines(value: str, limit: int = 200_000) -> str:
    """Like `safe_text`, but line breaks are kept: for logs and long error texts."""
    lines = "\n".join(safe_text(line, limit) for line in value[:limit].splitlines())
    return f"{lines}…" if len(value) > limit else lines


def _char_width(char: str) -> int:
    # Latin, general punctuation, box drawing and braille fill the interface and are one cell wide; the tables of
    # wcwidth take 50 ms to import, so they are loaded for other scripts only.
    code = ord(char)
    if 0x20 <= code < 0x7F or 0xA0 <= code < 0x300 or 0x2010 <= code < 0x2028 or 0x2500 <= code < 0x25FD:
        return 1
    if 0x2030 <= code < 0x2060 or 0x2190 <= code < 0x2200 or 0x2800 <= code < 0x2900:
        return 1
    from wcwidth import wcwidth

    return max(wcwidth(char), 0)


def cell_width(text: str) -> int:
    """Terminal cells that `text` takes; unprintable characters count as zero."""
    if text.isascii() and text.isprintable():
        return len(text)
    return sum(map(_char_width, text))


def _take_cells(text: str, width: int) -> str:
    used = 0
    for index, char in enumerate(text):
        used += _char_width(char)
        if used > width:
            return text[:index]
    return text


def truncate(text: str, width: int, ellipsis: str = "…") -> str:
    """`text` cut at its end to at most `width` cells."""
    if cell_width(text) <= width:
        return text
    if width <= cell_width(ellipsis):
        return _take_cells(text, max(width, 0))
    return _take_cells(text, width - cell_width(ellipsis)) + ellipsis


def truncate_middle(text: str, width: int, ellipsis: str = "…") -> str:
    """`text` cut in its middle to at most `width` cells, so that both ends of a path or layer name stay readable."""
    if cell_width(text) <= width:
        return text
    room = width - cell_width(ellipsis)
    if room < 2:
        return truncate(text, width, ellipsis)
    tail_width = room // 2
    tail = _take_cells(text[::-1], tail_width)[::-1]
    return _take_cells(text, room - tail_width) + ellipsis + tail


def plural(count: int, noun: str, plural_noun: str = "") -> str:
    """`1 model`, `2 models`: the count with its noun."""
    return f"{count:,} {noun if count == 1 else plural_noun or noun + 's'}"


_COMMAND = re.compile(
    r"(?<![\w./-])quickserveml (?=(?:add|alias|backup|batch|benchmark|categorise|compare|config|convert|delete|doctor|"
    r"export|feed|fsck|gc|golden|import|inspect|job|keys|list|monitor|open|predict|promote|purge|restore|"
    r"restore-backup|schema|serve|servers|show|tag|trash|trial|update|verify)\b)"
)


def at_home(text: str, home: str) -> str:
    """`text` with the commands in it made for a home: copied and pasted, they find it; `home` is empty for the default.

    A text that names a home already stays as it is, and so does every text for a home whose path cannot be shown.
    """
    if not home or "--home" in text or safe_text(home) != home:
        return text
    return _COMMAND.sub(lambda _match: f"quickserveml --home {shlex.quote(home)} ", text)
