"""JSON replies of the routes off the hot path."""

from __future__ import annotations

from typing import Any

import orjson
from starlette.responses import Response


def json_reply(document: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """A document as JSON."""
    return Response(orjson.dumps(document), status, headers, media_type="application/json")
