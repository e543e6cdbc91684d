"""Every route says what it needs, and every caller gets no more than that: taken from the route table itself."""

from __future__ import annotations

import asyncio
import re

import pytest
from access_homes import Clock, ask, bearer, key_service, make_keys
from fastapi import APIRouter, FastAPI
from starlette.requests import Request
from work_server import WorkServer

from quickserveml_tui.core.access import Permission
from quickserveml_tui.core.errors import NotFoundError, QuickServeError
from quickserveml_tui.server.access import caller_of
from quickserveml_tui.server.gatekeeper import KeyGatekeeper
from quickserveml_tui.server.permissions import CALLER, Check, declared, require_declared, requires, routes_of

PUBLIC = {"/v2/health/live", "/v2/health/ready", "/health"}
HOLDS = {"infer": {"infer"}, "read": {"read"}, "metrics": {"metrics"}, "admin": set(Permission)}
"""Permissions of each caller's key, beyond what is public."""


class Guarded:
    def __init__(self, folder):
        self.clock = Clock()
        self.home = folder / "home"
        self.home.mkdir(parents=True)
        self.keys = key_service(self.home, self.clock)
        self.texts = make_keys(self.keys, self.clock)
        self.gatekeeper = KeyGatekeeper(self.keys, wall=self.clock)
        self.server = WorkServer(folder, gatekeeper=self.gatekeeper, auth="keys")
        self.app = self.server.app
        self.routes = [
            (method, path, route)
            for path, route in routes_of(self.app)
            for method in sorted(route.methods)
        ]  # fmt: skip

    def ask(self, caller, method, path, **more):
        return ask(self.app, method, path, bearer(self.texts[caller]) if caller else [], **more)


@pytest.fixture(scope="module")
def guarded(tmp_path_factory):
    found = Guarded(tmp_path_factory.mktemp("guarded"))
    yield found
    found.server.engine.stop()
    found.server.workbench.close()


def filled(path):
    """A path with something for each of its parameters; models are the one that is served."""
    return re.sub(r"\{([a-z_]+)(:[a-z]+)?\}", lambda part: "tiny" if part[1] == "model" else "1", path)


def test_every_route_declares_a_permission_and_few_are_public(guarded):
    require_declared(guarded.app)
    assert len(guarded.routes) > 30
    assert {path for _, path, route in guarded.routes if declared(route) is Permission.PUBLIC} == PUBLIC


def test_a_route_without_a_permission_does_not_start():
    for included in (False, True):
        app, routes = FastAPI(openapi_url=None, docs_url=None, redoc_url=None), APIRouter()

        @routes.get("/fine", dependencies=requires(Permission.READ))
        async def fine():
            return {}

        app.include_router(routes)
        require_declared(app)
        target = APIRouter() if included else app

        @target.get("/forgotten")
        async def forgotten():
            return {}

        if included:
            app.include_router(target, prefix="/api/v1")
        with pytest.raises(QuickServeError) as error:
            require_declared(app)
        assert error.value.code == "server.undeclared"
        assert "/forgotten" in error.value.message


def test_what_changes_something_needs_more_than_to_look(guarded):
    looks = {"/v2/repository/index"}
    for method, path, route in guarded.routes:
        if method in ("PUT", "PATCH", "DELETE"):
            assert declared(route) in (Permission.WRITE, Permission.OPERATE, Permission.ADMIN), (method, path)
        elif method == "POST" and path not in looks and not path.endswith(("/infer", "/predict")):
            assert declared(route) not in (Permission.PUBLIC, Permission.METRICS), (method, path)


@pytest.mark.parametrize(
    ("caller", "code"),
    [
        (None, "auth.missing"),
        ("wrong", "auth.invalid"),
        ("expired", "auth.expired"),
        ("revoked", "auth.revoked"),
    ],
)
def test_without_a_key_that_holds_only_public_routes_answer(guarded, caller, code):
    for method, path, route in guarded.routes:
        if declared(route) is Permission.PUBLIC:
            assert guarded.ask(caller, method, path).status in (200, 503)
            continue
        for body in (b"", b"{"):
            answer = guarded.ask(caller, method, filled(path), body=body)
            assert answer.status == 401, (method, path, answer.body)
            assert answer.headers["www-authenticate"] == "Bearer"
            document = answer.json()
            assert document.get("code", code) == code
            assert len(document.get("detail") or document["error"]) > 15


@pytest.mark.parametrize("caller", ["infer", "read", "metrics"])
def test_a_key_without_the_scope_is_forbidden(guarded, caller):
    denied = 0
    for method, path, route in guarded.routes:
        needed = declared(route)
        if needed is Permission.PUBLIC or needed in HOLDS[caller]:
            continue
        answer = guarded.ask(caller, method, filled(path))
        assert answer.status == 403, (method, path, answer.body)
        assert needed in (answer.json().get("detail") or answer.json()["error"])
        denied += 1
    assert denied > 10


@pytest.mark.parametrize("caller", HOLDS)
def test_a_key_with_the_scope_passes(guarded, caller):
    """The declared checks alone: what the routes then do is for the tests of each."""
    principal = caller_of(guarded.gatekeeper, bearer(guarded.texts[caller]))
    passed = 0
    for _method, _path, route in guarded.routes:
        if declared(route) not in HOLDS[caller]:
            continue
        for item in route.dependencies:
            if isinstance(item.dependency, Check):
                scope = {"type": "http", "path_params": {"model": "tiny"}, "headers": [], CALLER: principal}
                item.dependency(Request(scope))
                passed += 1
    assert passed > 0


def test_a_model_that_a_key_does_not_reach_is_as_unknown_as_one_that_is_not_there(guarded):
    paths = [
        (method, path)
        for method, path, _route in guarded.routes
        if "{model}" in path and path.startswith("/v2/models/") and "infer" not in path
    ]
    assert paths
    for method, path in paths:
        foreign = guarded.ask("other", method, filled(path))
        unknown = guarded.ask("other", method, filled(path).replace("tiny", "tinx"))
        assert (foreign.status, unknown.status) == (404, 404), path
        assert foreign.body.replace(b"tiny", b"tinx") == unknown.body
        own = guarded.ask("other", method, filled(path).replace("tiny", "other-x"))
        assert own.status == 404
        assert b"tiny" not in own.body


def test_lists_show_what_a_key_reaches(guarded):
    assert [item["name"] for item in guarded.ask("infer", "POST", "/v2/repository/index").json()] == ["tiny"]
    assert guarded.ask("other", "POST", "/v2/repository/index").json() == []
    assert guarded.ask("other", "GET", "/v2/models/stats").json() == {"model_stats": []}
    root = guarded.ask("other", "GET", "/")
    assert b"tiny" not in root.body
    for path in ("/model/info", "/model/schema"):
        answer = guarded.ask("other", "GET", path)
        assert answer.status == 404
        assert b"tiny" not in answer.body


def test_the_routes_of_the_default_model_need_that_model():
    check = Check(Permission.INFER, of=lambda: "secret")
    other = type("Other", (), {"id": "x", "allows": lambda _self, _permission, model="": not model})()
    with pytest.raises(NotFoundError) as error:
        asyncio.run(check(Request({"type": "http", "path_params": {}, "headers": [], CALLER: other})))
    assert "secret" not in error.value.message + error.value.hint


def test_every_call_of_grpc_declares_a_permission():
    pytest.importorskip("grpc")
    from quickserveml_tui.server.grpc import methods

    table = next(value for value in vars(methods).values() if isinstance(value, tuple) and len(value) > 5)
    public = {item.name for item in table if item.permission is Permission.PUBLIC}
    assert public == {"ServerLive", "ServerReady"}
    for item in table:
        if item.name.startswith("Model") or item.name.endswith("load"):
            assert item.permission in (Permission.INFER, Permission.OPERATE)
