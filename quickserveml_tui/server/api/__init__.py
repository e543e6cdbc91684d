"""The management API below `/api/v1`: one module for each resource, with `router(context)`."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from fastapi import APIRouter, FastAPI

from quickserveml_tui.server.api.query_names import close_query

if TYPE_CHECKING:
    from quickserveml_tui.server.context import ServerContext

PREFIX = "/api/v1"
MODULES: tuple[str, ...] = (
    "trash",
    "models",
    "uploads",
    "versions",
    "artifacts",
    "golden",
    "aliases",
    "metrics",
    "benchmarks",
    "batches",
    "jobs",
    "monitor",
    "server",
)
"""Modules of this package, in the order of the documentation; routes that could be taken for others come first."""


def routers(context: ServerContext) -> list[APIRouter]:
    """The routes of every resource."""
    found: list[APIRouter] = [import_module(f"{__name__}.{module}").router(context) for module in MODULES]
    return found


def mount(app: FastAPI, context: ServerContext) -> None:
    """Add the management API to an application."""
    for routes in routers(context):
        close_query(routes)
        app.include_router(routes, prefix=PREFIX)
