"""Serves model files without a registry: `serve_files.py OPTIONS_JSON MODEL…`; prints the announcement when ready."""

import hashlib
import sys
from pathlib import Path

import msgspec

from quickserveml_tui.core.catalog import Resolved
from quickserveml_tui.server.options import ServeOptions
from quickserveml_tui.server.run import serve


def main() -> None:
    options = msgspec.json.decode(sys.argv[1].encode(), type=ServeOptions)
    models = [
        Resolved(ref=path, path=path, hashed=hashlib.sha256(Path(path).read_bytes()).hexdigest())
        for path in sys.argv[2:]
    ]
    serve(models, options, lambda said: print(said.text, flush=True))


if __name__ == "__main__":
    main()
