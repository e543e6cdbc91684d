"""Asks servers that speak the Open Inference Protocol."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from quickserveml_tui.client.addresses import model_path
from quickserveml_tui.client.examples import example_text
from quickserveml_tui.client.http import MIB, HttpAnswer, HttpClient
from quickserveml_tui.client.metadata import ModelMetadata, read_metadata
from quickserveml_tui.client.replies import failed, parse_json, wrong_answer
from quickserveml_tui.core.errors import DataError, UsageError
from quickserveml_tui.core.jobs import CancelToken
from quickserveml_tui.core.text import safe_lines, safe_text
from quickserveml_tui.wire.datatypes import TensorType
from quickserveml_tui.wire.json_tensors import Array
from quickserveml_tui.wire.oip_client import decode_response, encode_request

TIMEOUT_S = 10.0
MAX_ANSWER = 1024 * MIB
"""Outputs of one inference."""
MAX_TEXT_ANSWER = 16 * MIB
MAX_SHOWN = 2_000_000
"""Characters of an answer that is shown."""
MAX_MODELS = 1000
_JSON = {"content-type": "application/json"}
_HEADER_LENGTH = "inference-header-content-length"
_ABSENT = (400, 404, 405, 501)


class RemoteClient:
    """`RemotePort` over HTTP; safe to use from several threads.

    Every call raises `UnavailableError` (`server.unreachable`, `server.answer`, `server.busy`, `server.failed`),
    `NotPermittedError` (`server.refused`), `NotFoundError` (`server.not_there`) and `UsageError` (`usage.url`).
    """

    def models(self, url: str, *, key: str = "") -> tuple[dict[str, Any], ...]:
        """Metadata of every served model, by the inference protocol, with `version` where the server names it.

        Models that the key may not reach are left out; at most 1,000.
        """
        with _client(url, key) as http:
            found = []
            for name, version in _names(http)[:MAX_MODELS]:
                answer = http.request("GET", model_path(name, version), raise_refusals=False)
                if answer.status != 200:
                    continue
                document = parse_json(http.url, answer.body)
                if not isinstance(document, dict):
                    raise wrong_answer(http.url, "sent metadata that cannot be read")
                found.append(_safe(document) | {"version": safe_text(version, 80)})
            return tuple(found)

    def metadata(self, url: str, model: str, version: str = "", *, key: str = "") -> ModelMetadata:
        """Inputs and versions of a model."""
        with _client(url, key) as http:
            return _metadata(http, model, version)

    def example(self, url: str, model: str, version: str = "", *, key: str = "") -> str:
        """An example request of a model as JSON text, ready to edit. Raises `DataError` where JSON cannot carry one."""
        return example_text(self.metadata(url, model, version, key=key))

    def send(
        self, url: str, path: str, body: bytes, *, key: str = "", timeout_s: float = 60.0
    ) -> tuple[int, str, float]:
        """POST a JSON body to a path below `url`: status, printable text of the answer, milliseconds.

        Every status is an answer here, 401 and 403 as well.
        """
        if not path.startswith("/") or not path.isprintable() or ".." in path.split("/"):
            raise UsageError("The path begins with a slash.", hint="Such as /v2/models/NAME/infer.", code="usage.url")
        with _client(url, key) as http:
            answer = http.request(
                "POST",
                quote(path, safe="/%?=&:@!$'()*+,;~-._"),
                body,
                headers=_JSON,
                timeout_s=timeout_s,
                max_bytes=MAX_TEXT_ANSWER,
                raise_refusals=False,
            )
        return answer.status, safe_lines(answer.body.decode("utf-8", "replace"), MAX_SHOWN), answer.elapsed_ms

    def predict(
        self,
        url: str,
        model: str,
        version: str,
        inputs: Mapping[str, Any],
        *,
        key: str = "",
        timeout_s: float = 60.0,
        cancel: CancelToken | None = None,
    ) -> tuple[dict[str, Any], float]:
        """Outputs by name (numpy arrays; strings as objects) for arrays by input name, and milliseconds.

        Tensors go as binary data both ways where the server says that it takes them, else as JSON. The time is that of
        the inference request alone, with encoding and decoding. Raises `DataError` for inputs that do not fit, and
        `server.rejected` where the server says so.
        """
        with _client(url, key) as http:
            metadata = _metadata(http, model, version)
            arrays = metadata.fitted(inputs)
            binary = _takes_binary(http)
            started = time.perf_counter()
            body, header_length = encode_request(metadata.inputs, arrays, binary=binary)
            headers = {"content-type": "application/octet-stream", _HEADER_LENGTH: str(header_length)}
            answer = http.request(
                "POST",
                model_path(model, version, "/infer"),
                body,
                headers=headers if binary else _JSON,
                timeout_s=timeout_s,
                max_bytes=MAX_ANSWER,
                cancel=cancel,
            )
            outputs = _outputs(http.url, answer)
            elapsed_ms = (time.perf_counter() - started) * 1e3
        return {name: array for name, (_kind, array) in outputs.items()}, elapsed_ms


def _client(url: str, key: str) -> HttpClient:
    return HttpClient(url, key=key, timeout_s=TIMEOUT_S, max_bytes=MAX_TEXT_ANSWER)


def _metadata(http: HttpClient, model: str, version: str) -> ModelMetadata:
    answer = http.get(model_path(model, version))
    if answer.status != 200:
        raise failed(http.url, answer.status, answer.body)
    try:
        return read_metadata(parse_json(http.url, answer.body))
    except ValueError as error:
        raise wrong_answer(http.url, "sent metadata that cannot be read", str(error)) from error


def _takes_binary(http: HttpClient) -> bool:
    answer = http.get("/v2")
    if answer.status != 200:
        return False
    document = parse_json(http.url, answer.body)
    extensions = document.get("extensions") if isinstance(document, dict) else None
    return isinstance(extensions, list) and "binary_tensor_data" in extensions


def _outputs(url: str, answer: HttpAnswer) -> dict[str, tuple[TensorType, Array]]:
    if answer.status != 200:
        raise failed(url, answer.status, answer.body)
    said = answer.headers.get(_HEADER_LENGTH)
    try:
        if said is not None and not (said.isascii() and said.isdigit() and len(said) < 20):
            raise wrong_answer(url, f"sent an answer whose {_HEADER_LENGTH} is no number")
        return decode_response(answer.body, None if said is None else int(said))
    except DataError as error:
        raise wrong_answer(url, "sent outputs that cannot be read", error.message) from error


def _names(http: HttpClient) -> list[tuple[str, str]]:
    """Name and version of every model that is served, by the first of the ways that the server knows."""
    answer = http.request("POST", "/v2/repository/index", b"{}", headers=_JSON)
    if answer.status == 200:
        return _listed(http.url, parse_json(http.url, answer.body))
    if answer.status not in _ABSENT:
        raise failed(http.url, answer.status, answer.body)
    for path, member in (("/v2/models", "models"), ("/v2/models/stats", "model_stats")):
        answer = http.get(path)
        if answer.status == 200:
            document = parse_json(http.url, answer.body)
            return _listed(http.url, document.get(member) if isinstance(document, dict) else document)
        if answer.status not in _ABSENT:
            raise failed(http.url, answer.status, answer.body)
    raise wrong_answer(http.url, "does not say which models it serves")


def _listed(url: str, items: Any) -> list[tuple[str, str]]:
    if not isinstance(items, list):
        raise wrong_answer(url, "sent a list of models that cannot be read")
    found: dict[tuple[str, str], None] = {}
    for item in items:
        entry = {"name": item} if isinstance(item, str) else item
        if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
            raise wrong_answer(url, "sent a list of models that cannot be read")
        version = entry.get("version")
        if entry.get("state", "READY") in ("READY", ""):
            found[entry["name"], version if isinstance(version, str) else ""] = None
    return list(found)


def _safe(value: Any, depth: int = 8) -> Any:
    """A document with texts that can be shown, no deeper than metadata is."""
    if isinstance(value, dict):
        return {safe_text(name, 200): _safe(item, depth - 1) for name, item in value.items()} if depth else {}
    if isinstance(value, list):
        return [_safe(item, depth - 1) for item in value[:10_000]] if depth else []
    return safe_text(value, 1000) if isinstance(value, str) else value
