"""Bad names and paths, and what may stand at each place where a name is taken: one table for every front.

`NAMES` are no names, tags, category levels or aliases; each of them is refused wherever one is expected.
"""

from __future__ import annotations

import unicodedata

NFC = unicodedata.normalize("NFC", "é")
NFD = unicodedata.normalize("NFD", "é")
RLO, ZWSP, CSI, BELL = "\u202e", "\u200b", "\x9b", "\x07"

PATHS = [
    "../x", "..\\x", "/etc/passwd", "C:\\x", "\\\\host\\share", "a/../../b", "./x", "~root/x", "..", ".", "x/",
]  # fmt: skip
"""What leads somewhere."""

NAMES = [
    *PATHS, "%2e%2e%2fx", "%252e%252e", "a\0b", "\udcc0\udcaf", "\ud800", "", " ", "a b", " a", "a ", "a" * 129,
    "a" * 256, "a" * 4097, "CON", "con.x", "lpt1", "NUL", "trailing.", ".leading", "-rf", "_x", "a..b",
    NFC, NFD, "раураl", f"a{RLO}b", f"a{ZWSP}b", "a\x1b[31mb", f"a\x1b]52;c;eA=={BELL}b", f"a{CSI}31mb",
    "a\r\nb", "a\nb", "a\tb", "x[/]y", "[@click=app.quit]", "=cmd|'/c calc'!A1", "<script>", "'; DROP TABLE models",
    "{{7*7}}", "${x}", "$(id)", "`id`", "a*b", "a?b", "a:b", "a|b", "a#b", "a@b", "a,b", "٣",
]  # fmt: skip
"""What is no name."""

VERSIONS = ["-1", "0", "1e3", "٣", str(2**63), str(2**31), "01", "", "+1", "1.0", "1_0", "0x1", " 1", "1 ", "²", "９"]
"""What is no version number; `1.0` may be a label, but here none bears it."""

ALIASES = ["1", "01", "0x1", "1e3", "1_0", "latest", "LATEST", "Latest", "1.2.0", "v1.0", "1.0.0-rc1", *NAMES]
"""What is no alias: numbers, labels and `latest` beside bad names."""

LABELS = ["1", "latest", "1.0.0.0", "v", "1.0.0+ ", "1.0.0-\x1b[2J", "１.0.0", "1.0.0\n", *NAMES]
"""What is no label; an empty one takes the label away."""
LABELS = [label for label in LABELS if label]

CATEGORIES = ["a//b", "/a", "a/", "a/./b", "a/../b", "a/b/c/d/e", "CON/a", "a/nul", "a/ /b", *NAMES]
"""What is no category."""

TRASH = [
    "trash-", "trash-000000000000", "trash-../../x", "TRASH-000000000000", "trash-%2e%2e", "trash-" + "0" * 5000, *NAMES,
]  # fmt: skip
"""What names nothing in the trash."""

TEXTS = [
    "\x1b[2J", f"a{CSI}31m", f"a{RLO}b", f"a{ZWSP}b", "\0", "a\x07", "\ud800", "\x7f", "\u2066x\u2069", "\ufeff",
]  # fmt: skip
"""What no text field takes: control, invisible and reordering characters."""

PARENTS = [name for name in NAMES if name] + ["m@0", "m@01", "m@-1", "m@", "m@9", "m@nothing", "g" * 64, "ab" * 33]
"""What is no parent in a catalog whose only model is `m` with version 1; an empty one takes the parent away."""


def ids(values: list[str]) -> list[str]:
    """Readable ids for parametrised tests."""
    return [ascii(value)[:28] for value in values]


def is_clean(text: str) -> bool:
    """Whether a text can be printed: no control, invisible or reordering character is left in it."""
    return all(char == "\n" or unicodedata.category(char) not in ("Cc", "Cf", "Cs", "Co", "Cn") for char in text)
