"""Runs one inference."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from quickserveml_tui.core.errors import UsageError
from quickserveml_tui.core.feeds import FeedSpec
from quickserveml_tui.core.jobs import CancelToken
from quickserveml_tui.core.ports import CatalogPort
from quickserveml_tui.core.predictions import Prediction
from quickserveml_tui.core.runners import RunnerPool
from quickserveml_tui.services.paths import user_path

DEFAULT_FEED = FeedSpec()


class PredictService:
    """`PredictPort` on the catalog and warm runners."""

    def __init__(self, catalog: CatalogPort, runners: RunnerPool) -> None:
        self._catalog = catalog
        self._runners = runners

    def predict(
        self,
        ref: str,
        *,
        inputs: Path | Mapping[str, Any] | None = None,
        feed: FeedSpec = DEFAULT_FEED,
        keep_inputs: bool = False,
        cancel: CancelToken | None = None,
    ) -> Prediction:
        """Outputs for an NPZ or JSON file, for values by input name, or for synthetic inputs made by `feed`.

        The overrides saved with the version hold where `feed` says nothing. With `keep_inputs` the result has the
        inputs as well.

        Raises `DataError` when the inputs do not fit, `UsageError` for a feed or path that cannot be,
        `NotFoundError`, `ModelUnrunnableError` and `RunnerError`.
        """
        feed.validate()
        source = user_path(inputs) if isinstance(inputs, Path) else inputs
        resolved = self._catalog.resolve(ref, runnable=True, cancel=cancel)
        if resolved.version is not None:
            feed = feed.over(resolved.version.feed)
        with self._runners.borrow() as runner:
            prediction = runner.predict(
                Path(resolved.path), inputs=source, feed=feed, keep_inputs=keep_inputs, cancel=cancel
            )
        return replace(prediction, ref=resolved.ref)

    def save(self, prediction: Prediction, path: Path, *, overwrite: bool = False) -> None:
        """Write the outputs to an NPZ or JSON file, by the suffix of `path`, as a whole or not at all.

        Raises `UsageError` for another suffix or a place that is no file's, `ConflictError` (`export.exists`) and
        `DataError` (`output.unwritable`).
        """
        from quickserveml_tui.services.outputs import to_file
        from quickserveml_tui.storage.fs import write_all
        from quickserveml_tui.storage.outputs import output_file

        target = user_path(path)
        if target.suffix.lower() not in (".npz", ".json"):
            raise UsageError(
                "Outputs are written to an NPZ or a JSON file.", hint="Its name must end in .npz or .json."
            )
        data = to_file(prediction, target.name)
        with output_file(target, overwrite=overwrite) as descriptor:
            write_all(descriptor, data)
