"""Servers on the command line: the key to one, and one inference on it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated, TypeAlias

from typer import Option

from quickserveml_tui.core.errors import UsageError
from quickserveml_tui.core.text import safe_text

if TYPE_CHECKING:
    from pathlib import Path

    from quickserveml_tui.client.addresses import ModelAddress
    from quickserveml_tui.client.remote import RemoteClient
    from quickserveml_tui.core.feeds import FeedSpec
    from quickserveml_tui.core.jobs import CancelToken
    from quickserveml_tui.core.predictions import Prediction

KEY_VARIABLE = "QSML_API_KEY"
KeyOption: TypeAlias = Annotated[
    str,
    Option(
        "--key",
        metavar="KEY",
        help="API key of the server; QSML_API_KEY keeps it out of the list of processes.",
        show_default=False,
    ),
]


def is_url(ref: str) -> bool:
    """Whether what names a model is an address instead of a reference or a path."""
    return ref[:8].lower().startswith(("http://", "https://"))


def api_key(given: str, url: str) -> str:
    """The key that a server gets; warns where it would cross a network for everybody to read."""
    from quickserveml_tui.cli.diagnostics import warn
    from quickserveml_tui.client.addresses import check_url, is_on_this_machine

    key = given or os.environ.get(KEY_VARIABLE, "")
    if key and check_url(url)[:8].lower() != "https://" and not is_on_this_machine(url):
        warn("The API key crosses the network unencrypted; https:// protects it.")
    return key


def predict_remotely(
    url: str, inputs: Path | None, feed: FeedSpec, key: str, *, cancel: CancelToken | None = None
) -> Prediction:
    """Outputs of a model at its address, for the inputs of a file or made-up ones.

    Raises `UsageError` (`usage.which_model`) for the address of a server with several models, and what
    `RemoteClient.predict` raises.
    """
    from quickserveml_tui.client.addresses import parse_model_url
    from quickserveml_tui.client.remote import RemoteClient
    from quickserveml_tui.core.predictions import Prediction
    from quickserveml_tui.runtime.dtypes import onnx_name

    client, secret = RemoteClient(), api_key(key, url)
    address = parse_model_url(url)
    if not address.model:
        address = _only_model(client, address.server, secret)
    metadata = client.metadata(*address, key=secret)
    values = metadata.from_file(inputs) if inputs else metadata.made_up(feed.validate())
    outputs, latency_ms = client.predict(*address, values, key=secret, cancel=cancel)
    return Prediction(
        outputs={safe_text(name, 1000): value for name, value in outputs.items()},
        dtypes={safe_text(name, 1000): onnx_name(value.dtype) for name, value in outputs.items()},
        latency_ms=latency_ms,
        ref=f"{address.model}@{address.version}" if address.version else address.model,
        synthetic=inputs is None,
        inputs={} if inputs else dict(values),
    )


def _only_model(client: RemoteClient, server: str, key: str) -> ModelAddress:
    from quickserveml_tui.client.addresses import ModelAddress

    names = sorted({str(document.get("name", "")) for document in client.models(server, key=key)})
    if len(names) == 1:
        return ModelAddress(server, names[0])
    listed = ", ".join(f"{server}/v2/models/{name}" for name in names[:4])
    raise UsageError(
        f"The address names no model, and the server has {len(names)}.",
        hint=f"Name one: {safe_text(listed, 400)}{', …' if len(names) > 4 else ''}." if names else "It serves nothing.",
        code="usage.which_model",
    )
