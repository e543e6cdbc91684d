"""Writes docs/contract/serving-profile.schema.json: python scripts/make_profile_schema.py [--check]."""

from __future__ import annotations

import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TARGET = ROOT / "docs" / "contract" / "serving-profile.schema.json"
sys.path.insert(0, str(ROOT))


def document() -> str:
    """The schema as text."""
    from quickserveml_tui.services.profile_document import json_schema

    return json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"


def main() -> int:
    """Write the schema, or with `--check` say whether it is the one that is committed."""
    text = document()
    if "--check" in sys.argv:
        if not TARGET.exists() or TARGET.read_text(encoding="utf-8") != text:
            print(f"{TARGET.relative_to(ROOT)} is stale: run python scripts/make_profile_schema.py")
            return 1
        return 0
    TARGET.write_text(text, encoding="utf-8")
    print(f"wrote {TARGET.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
