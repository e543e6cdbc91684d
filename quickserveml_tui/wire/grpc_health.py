"""The messages of gRPC's own health protocol, `grpc.health.v1`, which balancers and probes speak."""

from __future__ import annotations

from functools import cache
from typing import Any

from quickserveml_tui.wire.grpc_schema import Schema

HEALTH_SERVICE = "grpc.health.v1.Health"

STATUSES = ("UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN")
"""By their numbers; the last is for `Watch` alone."""


@cache
def _schema() -> Schema:
    tables = {
        "HealthCheckRequest": (("service", 1, "string"),),
        "HealthCheckResponse": (("status", 1, "ServingStatus"),),
    }
    return Schema("grpc.health.v1", tables, {"ServingStatus": STATUSES})


def health_request() -> Any:
    """The class of `HealthCheckRequest`."""
    return _schema().classes["HealthCheckRequest"]


def health_response(status: str) -> bytes:
    """An encoded `HealthCheckResponse` with one of `STATUSES`."""
    encoded: bytes = _schema().classes["HealthCheckResponse"](status=status).SerializeToString()
    return encoded
