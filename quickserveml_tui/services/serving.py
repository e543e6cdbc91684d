"""Serving: which models are loaded, what they look like from outside, and what happened to their requests."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

from quickserveml_tui.core.catalog import Resolved
from quickserveml_tui.core.errors import NotFoundError, UsageError
from quickserveml_tui.core.text import safe_text
from quickserveml_tui.runtime.settings import SessionSettings
from quickserveml_tui.services.serving_models import ServedModel, served_name, served_version


class ServingService:
    """The models that this process serves. Raises what `ServedModel` raises while loading."""

    def __init__(self, settings: SessionSettings) -> None:
        self._settings = settings
        self._models: dict[str, dict[str, ServedModel]] = {}
        self._default: ServedModel | None = None
        self.draining = False
        """Whether the server is about to stop: it is no longer ready, but finishes what it has."""

    def load(self, models: Iterable[Resolved], default: str = "") -> None:
        """Load models; the first one is the default unless `default` names another by `name` or `name@version`.

        Raises `UsageError` (`serve.duplicate`) when two have the same name and version.
        """
        for resolved in models:
            name, version = served_name(resolved), served_version(resolved)
            if version in self._models.get(name, {}):
                raise UsageError(
                    f"Two models would be served as {name} version {version}.",
                    hint="Add them to the registry as different models or versions, or rename a file.",
                    code="serve.duplicate",
                )
            model = ServedModel(resolved, self._settings)
            self._models.setdefault(name, {})[version] = model
            self._default = self._default or model
        if default:
            name, _, version = default.partition("@")
            self._default = self.find(name, version)

    @property
    def models(self) -> tuple[ServedModel, ...]:
        """All versions of all models, by name and number."""
        return tuple(
            versions[version] for _, versions in sorted(self._models.items()) for version in sorted(versions, key=int)
        )

    @property
    def ready(self) -> bool:
        """Whether requests are welcome."""
        return bool(self._models) and not self.draining

    def default(self) -> ServedModel:
        """The model behind the short routes. Raises `NotFoundError`."""
        if self._default is None:
            raise NotFoundError("No model is served.", hint="Start the server with a model.", code="model.unknown")
        return self._default

    def versions(self, name: str) -> tuple[str, ...]:
        """Version numbers of a model, ascending. Raises `NotFoundError`."""
        self.find(name)
        return tuple(sorted(self._models[name], key=int))

    def find(self, name: str, selector: str = "") -> ServedModel:
        """A version by number, label or alias; the highest one by default.

        Raises `NotFoundError` (`model.unknown`, `version.unknown`).
        """
        versions = self._models.get(name)
        if versions is None:
            near = get_close_matches(name[:128], self._models, n=1)
            raise NotFoundError(
                f"Unknown model: “{safe_text(name, 80)}” is not served here.",
                hint=f"Did you mean {near[0]}?" if near else "POST /v2/repository/index lists the models.",
                code="model.unknown",
            )
        if not selector:
            return versions[max(versions, key=int)]
        for model in versions.values():
            if selector in model.selectors:
                return model
        raise NotFoundError(
            f"Unknown version: model {name} has no version “{safe_text(selector, 80)}” here.",
            hint=f"Versions: {', '.join(sorted(versions, key=int))}.",
            code="version.unknown",
        )
