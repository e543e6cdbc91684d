"""Write `docs/keys.md` from the bindings: `python scripts/make_keys.py`."""

from __future__ import annotations

import sys
from pathlib import Path

from quickserveml_tui.tui.key_owners import keys_page

TARGET = Path(__file__).resolve().parent.parent / "docs" / "keys.md"


def main() -> int:
    TARGET.parent.mkdir(exist_ok=True)
    TARGET.write_text(keys_page(), encoding="utf-8")
    print(TARGET)
    return 0


if __name__ == "__main__":
    sys.exit(main())
