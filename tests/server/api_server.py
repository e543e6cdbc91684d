"""A server with a catalog for the tests of `/api/v1`: keys that reach only some models, and files to upload."""

from __future__ import annotations

import numpy as np
from onnx import helper
from server_models import model, value, weight

from quickserveml_tui.core.access import Permission, may
from quickserveml_tui.core.errors import NotPermittedError
from quickserveml_tui.server.access import ADMITTED


class Key:
    """A caller with scopes and patterns."""

    limited = False

    def __init__(self, name, scopes, patterns=()):
        self.id, self.scopes, self.patterns = name, scopes, patterns

    def allows(self, permission, model=""):
        return may(self.scopes, self.patterns, permission, model)

    def admit(self, now):
        return ADMITTED


KEYS = {
    "admin": Key("admin", (Permission.ADMIN,)),
    "other": Key("other", (Permission.ADMIN,)),
    "viewer": Key("viewer", (Permission.READ,)),
    "tenant": Key("tenant", (Permission.READ, Permission.WRITE), ("mine*",)),
}


class Gate:
    """Callers by name; who names none is the administrator."""

    version = 0

    def identify(self, headers):
        name = next((value.decode() for key, value in headers if key == b"authorization"), "Bearer admin")
        key = KEYS.get(name.removeprefix("Bearer "))
        if key is None:
            raise NotPermittedError("No such key.", code="auth.invalid")
        return key


def as_key(name):
    return {"Authorization": f"Bearer {name}"}


def doubled(times=2.0):
    """Bytes of a model of its own for each number."""
    nodes = [helper.make_node("Mul", ["x", "w"], ["y"])]
    return model(nodes, [value("x")], [value("y")], [weight("w", np.float32([times]))]).SerializeToString()
