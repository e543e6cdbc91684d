"""The methods of the service: what they take, give and need. One that is not listed is not offered."""

from __future__ import annotations

from typing import NamedTuple

from quickserveml_tui.core.access import Permission
from quickserveml_tui.wire.grpc_health import HEALTH_SERVICE
from quickserveml_tui.wire.grpc_tables import SERVICE


class Method(NamedTuple):
    """A method with the permission that it needs."""

    name: str
    permission: Permission
    model_field: str = ""
    """Field of the request that holds a model's name, where it is about one."""
    streams: bool = False
    """Whether requests and answers are streams."""
    service: str = SERVICE

    @property
    def path(self) -> str:
        """As it crosses the wire and stands in logs."""
        return f"/{self.service}/{self.name}"


METHODS = (
    Method("ServerLive", Permission.PUBLIC),
    Method("ServerReady", Permission.PUBLIC),
    Method("ModelReady", Permission.INFER, "name"),
    Method("ServerMetadata", Permission.INFER),
    Method("ModelMetadata", Permission.INFER, "name"),
    Method("ModelInfer", Permission.INFER, "model_name"),
    Method("ModelStreamInfer", Permission.INFER, "model_name", streams=True),
    Method("ModelConfig", Permission.INFER, "name"),
    Method("ModelStatistics", Permission.INFER, "name"),
    Method("RepositoryIndex", Permission.INFER),
    Method("RepositoryModelLoad", Permission.OPERATE, "model_name"),
    Method("RepositoryModelUnload", Permission.OPERATE, "model_name"),
)
"""Everything that works; the rest of the service (shared memory, traces, log settings) answers UNIMPLEMENTED."""

CHECK = Method("Check", Permission.PUBLIC, service=HEALTH_SERVICE)
WATCH = Method("Watch", Permission.PUBLIC, service=HEALTH_SERVICE)
"""gRPC's own health protocol; asking for one model needs what `ModelReady` needs."""
