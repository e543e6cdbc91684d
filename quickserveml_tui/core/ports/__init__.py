"""Service ports: what the fronts ask of the services; `Workbench` holds them all.

All calls block and are made from worker threads; those that take a `CancelToken` stop soon after it is cancelled.
Errors are `QuickServeError`s.
"""

from __future__ import annotations

from quickserveml_tui.core.ports.care import BackupPort, BundlePort, MaintenancePort
from quickserveml_tui.core.ports.catalog import CatalogPort
from quickserveml_tui.core.ports.lab import ComparePort
from quickserveml_tui.core.ports.models import ConvertPort, GoldenPort, InspectPort, PredictPort
from quickserveml_tui.core.ports.runs import BatchPort, BenchmarkPort, JobsPort, MetricHistoryPort
from quickserveml_tui.core.ports.serving import KeysPort, MonitorPort, RemotePort, ServersPort
from quickserveml_tui.core.ports.transfers import AnswersPort, TransferPort
from quickserveml_tui.core.ports.workbench import DemoPort, HostPort, Workbench

__all__ = [
    "AnswersPort",
    "BackupPort",
    "BatchPort",
    "BenchmarkPort",
    "BundlePort",
    "CatalogPort",
    "ComparePort",
    "ConvertPort",
    "DemoPort",
    "GoldenPort",
    "HostPort",
    "InspectPort",
    "JobsPort",
    "KeysPort",
    "MaintenancePort",
    "MetricHistoryPort",
    "MonitorPort",
    "PredictPort",
    "RemotePort",
    "ServersPort",
    "TransferPort",
    "Workbench",
]
