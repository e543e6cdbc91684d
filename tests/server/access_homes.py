"""Keys of every kind in a home, and requests straight into an application."""

from __future__ import annotations

import asyncio
import json
from urllib.parse import quote

from quickserveml_tui.core.access import Permission
from quickserveml_tui.services.api_keys import KeysService
from quickserveml_tui.storage.api_keys import KeyStore


class Clock:
    """Unix time that only tests move."""

    def __init__(self, now=1_900_000_000.0):
        self.now = now

    def __call__(self):
        return self.now


def key_service(home, clock):
    return KeysService(KeyStore(home / "keys.json"), clock)


def make_keys(keys, clock):
    """Texts of keys by what they are for."""
    made = {
        "infer": keys.create("infer").text,
        "read": keys.create("read", scopes=[Permission.READ]).text,
        "metrics": keys.create("metrics", scopes=[Permission.METRICS]).text,
        "admin": keys.create("admin", scopes=[Permission.ADMIN]).text,
        "other": keys.create("other", scopes=list(Permission)[1:-1], models=["other*"]).text,
        "expired": keys.create("expired", scopes=[Permission.ADMIN], expires_in_s=10).text,
        "revoked": keys.create("revoked", scopes=[Permission.ADMIN]).text,
    }
    keys.revoke("revoked")
    clock.now += 11
    wrong = keys.create("wrong", scopes=[Permission.ADMIN]).text
    keys.revoke("wrong")
    # The id of a key that holds with the secret of another one: only the secret can tell.
    made["wrong"] = _with_secret_of(made["admin"], wrong)
    return made


def _with_secret_of(text, other):
    from quickserveml_tui.core.key_text import _checksum

    body = "_".join([*text.split("_")[:2], other.split("_")[2]])
    return f"{body}_{_checksum(body)}"


class Answered:
    def __init__(self, status, headers, body):
        self.status = status
        self.headers = {name.decode().lower(): value.decode() for name, value in headers}
        self.body = body

    def json(self):
        return json.loads(self.body)


def ask(app, method, path, headers=(), body=b"", query=b""):
    """One request, without a server."""
    answer = []

    async def receive():
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message):
        answer.append(message)

    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method, "scheme": "http",
        "path": path, "raw_path": quote(path).encode(), "query_string": query, "root_path": "",
        "headers": [(b"host", b"localhost"), *headers], "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 80),
        "state": {},
    }  # fmt: skip
    asyncio.run(app(scope, receive, send))
    return Answered(answer[0]["status"], answer[0]["headers"], b"".join(item.get("body", b"") for item in answer[1:]))


def bearer(text):
    return [(b"authorization", b"Bearer " + text.encode())]
