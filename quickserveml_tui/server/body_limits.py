"""How large the body of a request may be, by what it is for."""

from __future__ import annotations

import re

from quickserveml_tui.server.options import ServeOptions

_UPLOAD = re.compile(rb"/api/v1/models(?:/[^/?#]+/(?:versions|batches))?(?:\?.*)?", re.DOTALL)


def is_upload(method: bytes, target: bytes) -> bool:
    """Whether a request brings a model file or a data set, which goes to disk while it is read and takes no memory."""
    return method == b"POST" and _UPLOAD.fullmatch(target) is not None


def body_limit(options: ServeOptions, method: bytes, target: bytes) -> int:
    """The most bytes that the body of a request may have; `target` is the path with the query."""
    return options.max_upload_bytes if is_upload(method, target) else options.max_body_bytes
