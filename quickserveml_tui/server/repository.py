"""Load, unload and list what is served, as HTTP and gRPC ask for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import orjson

from quickserveml_tui.core.errors import DataError
from quickserveml_tui.core.serving import ServedState
from quickserveml_tui.core.text import safe_text
from quickserveml_tui.server.access import visible
from quickserveml_tui.services.serving import ServingService
from quickserveml_tui.services.serving_documents import repository_index

if TYPE_CHECKING:
    from quickserveml_tui.core.access import Principal
    from quickserveml_tui.server.context import Control, ServerContext

_MAX_VERSIONS = 100
_MAX_SELECTOR = 128


def index(
    serving: ServingService, control: Control | None, caller: Principal | None, *, ready_only: bool
) -> list[dict[str, str]]:
    """All versions that the caller may know of, with state and reason; with `ready_only` those that take requests."""
    if control is None:
        found = repository_index(serving)
    else:
        found = [
            {"name": item.name, "version": item.version, "state": item.state.value, "reason": item.reason}
            for item in control.statuses()
        ]
    if ready_only:
        found = [item for item in found if item["state"] == ServedState.READY] if serving.ready else []
    return [item for item in found if visible(caller, item["name"])]


async def load(context: ServerContext, name: str, parameters: Mapping[str, Any], version: str = "") -> None:
    """Load a model, or the versions that the path or the parameters name. Raises `DataError`, and what loading does."""
    await context.control.load(name, (version,) if version else _versions(parameters))


async def unload(context: ServerContext, name: str, parameters: Mapping[str, Any], version: str = "") -> None:
    """Unload a model, or one version of it. Raises `DataError` and `NotFoundError`."""
    asked = dict(parameters)
    asked.pop("unload_dependents", None)  # no model depends on another here
    versions = (version,) if version else _versions(asked)
    if not versions:
        await context.control.unload(name)
    for each in versions:
        await context.control.unload(name, each)


def _versions(parameters: Mapping[str, Any]) -> tuple[str, ...]:
    """Versions by the parameter `version`, or by the version policy in `config`, as Triton's clients send it."""
    found: list[Any] = []
    for key, value in parameters.items():
        if key == "version":
            found.append(value)
        elif key == "config":
            found.extend(_policy_versions(value))
        else:
            raise DataError(
                f"The parameter “{safe_text(key, 60)}” cannot be used to load or unload a model here.",
                hint="Use “version”, or “config” with a version_policy of specific versions.",
                code="repository.parameter",
            )
    versions = tuple(_version(item) for item in found)
    if len(versions) > _MAX_VERSIONS:
        raise DataError(f"At most {_MAX_VERSIONS} versions can be named at once.", code="repository.parameter")
    return versions


def _version(value: Any) -> str:
    if type(value) is int:
        return str(value)
    if type(value) is not str or not 0 < len(value) <= _MAX_SELECTOR:
        raise DataError(
            "A version is a number, a label or an alias.",
            hint="For example “version”: “2”.",
            code="repository.parameter",
        )
    return value


def _policy_versions(config: Any) -> list[Any]:
    problem = DataError(
        "Of a model's configuration only the version policy with specific versions can be set here.",
        hint='For example {"version_policy": {"specific": {"versions": [2]}}}.',
        code="repository.parameter",
    )
    try:
        document = orjson.loads(config)
        (policy,) = (document.pop("version_policy"),)
        versions = policy["specific"]["versions"]
    except (orjson.JSONDecodeError, TypeError, AttributeError, KeyError) as error:
        raise problem from error
    if document or set(policy) != {"specific"} or set(policy["specific"]) != {"versions"}:
        raise problem
    if type(versions) is not list or not versions:
        raise problem
    return versions
