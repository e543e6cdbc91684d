"""Calls beside inference: health, metadata, configuration, statistics, repository."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeAlias

from quickserveml_tui import __version__
from quickserveml_tui.core.errors import NotFoundError
from quickserveml_tui.server import repository
from quickserveml_tui.server.access import visible
from quickserveml_tui.services.serving_documents import EXTENSIONS, model_config, model_metadata, model_statistics
from quickserveml_tui.wire.grpc_infer import parameters
from quickserveml_tui.wire.grpc_messages import message

if TYPE_CHECKING:
    from quickserveml_tui.server.context import Caller, ServerContext

Handler: TypeAlias = "Callable[[Any, Caller], Awaitable[Any]]"
"""From a request and its caller to the answer, as messages. Raises `QuickServeError`."""


class Information:
    """Handlers by the names of their methods."""

    def __init__(self, context: ServerContext) -> None:
        self._context = context
        self._serving = context.serving
        self.handlers: dict[str, Handler] = {
            "ServerLive": self._live,
            "ServerReady": self._ready,
            "ModelReady": self._model_ready,
            "ServerMetadata": self._metadata,
            "ModelMetadata": self._model_metadata,
            "ModelConfig": self._config,
            "ModelStatistics": self._statistics,
            "RepositoryIndex": self._index,
            "RepositoryModelLoad": self._load,
            "RepositoryModelUnload": self._unload,
        }

    async def _live(self, _request: Any, _caller: Caller) -> Any:
        return message("ServerLiveResponse", {"live": True})

    async def _ready(self, _request: Any, _caller: Caller) -> Any:
        return message("ServerReadyResponse", {"ready": self._serving.ready})

    async def _model_ready(self, request: Any, _caller: Caller) -> Any:
        try:
            self._serving.find(request.name, request.version)
        except NotFoundError:  # clients ask this way whether a model is there yet
            return message("ModelReadyResponse", {"ready": False})
        return message("ModelReadyResponse", {"ready": self._serving.ready})

    async def _metadata(self, _request: Any, _caller: Caller) -> Any:
        document = {"name": "quickserveml", "version": __version__, "extensions": list(EXTENSIONS)}
        return message("ServerMetadataResponse", document)

    async def _model_metadata(self, request: Any, _caller: Caller) -> Any:
        found = self._serving.find(request.name, request.version)
        return message("ModelMetadataResponse", model_metadata(self._serving, found))

    async def _config(self, request: Any, _caller: Caller) -> Any:
        config = model_config(self._serving.find(request.name, request.version))
        return message("ModelConfigResponse", {"config": config})

    async def _statistics(self, request: Any, caller: Caller) -> Any:
        serving = self._serving
        if not request.name:
            found = [item for item in serving.models if visible(caller, item.name)]
        elif request.version:
            found = [serving.find(request.name, request.version)]
        else:
            found = [serving.find(request.name, number) for number in serving.versions(request.name)]
        return message(
            "ModelStatisticsResponse",
            {"model_stats": [model_statistics(item, self._context.counters) for item in found]},
        )

    async def _index(self, request: Any, caller: Caller) -> Any:
        found = repository.index(self._serving, self._context.control, caller, ready_only=request.ready)
        return message("RepositoryIndexResponse", {"models": found})

    async def _load(self, request: Any, _caller: Caller) -> Any:
        await repository.load(self._context, request.model_name, parameters(request.parameters))
        return message("RepositoryModelLoadResponse", {"model_name": request.model_name, "isLoaded": True})

    async def _unload(self, request: Any, _caller: Caller) -> Any:
        await repository.unload(self._context, request.model_name, parameters(request.parameters))
        return message("RepositoryModelUnloadResponse", {"model_name": request.model_name, "isUnloaded": True})
