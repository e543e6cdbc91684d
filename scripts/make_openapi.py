"""Writes docs/contract/openapi.json, the description of the HTTP interface: python scripts/make_openapi.py [--check].

It is the document that a server gives at `/openapi.json`, but for the example of the model that it serves.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TARGET = ROOT / "docs" / "contract" / "openapi.json"
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "server")]


def document() -> str:
    """The document of a server with a home and one model."""
    from work_server import described  # found by the line above

    with tempfile.TemporaryDirectory() as folder:
        found = described(Path(folder))
    found["info"]["version"] = "0"  # another version alone changes nothing
    return json.dumps(found, indent=1, ensure_ascii=False, sort_keys=True) + "\n"


def main() -> int:
    """Write the document, or with `--check` say whether it is the one that is committed."""
    text = document()
    if "--check" in sys.argv:
        if not TARGET.exists() or TARGET.read_text(encoding="utf-8") != text:
            print(f"{TARGET.relative_to(ROOT)} is stale: run python scripts/make_openapi.py")
            return 1
        return 0
    TARGET.write_text(text, encoding="utf-8")
    print(f"wrote {TARGET.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
