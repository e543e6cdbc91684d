"""Every class of the terminal interface that binds keys, for the documents and for the check that ids are unique."""

from __future__ import annotations

from textual.dom import DOMNode

from quickserveml_tui.tui.app import WorkbenchApp
from quickserveml_tui.tui.keys import keys_document
from quickserveml_tui.tui.panes.benchmark import BenchmarkPane
from quickserveml_tui.tui.panes.catalog import CatalogPane
from quickserveml_tui.tui.panes.catalog_filter import FilterInput
from quickserveml_tui.tui.panes.catalog_start import StartChoices
from quickserveml_tui.tui.panes.golden import GoldenTable, GoldenView
from quickserveml_tui.tui.panes.inspector import InspectorPane, Page
from quickserveml_tui.tui.panes.jobs import JobsPane
from quickserveml_tui.tui.panes.layers import LayerFilter, LayerView
from quickserveml_tui.tui.panes.monitor_charts import LatencyPane
from quickserveml_tui.tui.panes.monitor_tables import ModelsPane
from quickserveml_tui.tui.panes.request import RequestEditor, RequestPane
from quickserveml_tui.tui.panes.server_log import LogFilter, LogPane
from quickserveml_tui.tui.panes.servers import ServersPane
from quickserveml_tui.tui.panes.tables import PaneTable
from quickserveml_tui.tui.screens.address import AddressForm
from quickserveml_tui.tui.screens.dialog import Dialog, MessageDialog
from quickserveml_tui.tui.screens.forms import ChoiceField, FieldInput
from quickserveml_tui.tui.screens.inputs import InputsForm
from quickserveml_tui.tui.screens.monitor import MonitorScreen
from quickserveml_tui.tui.screens.outputs import OutputsDialog
from quickserveml_tui.tui.screens.quit import QuitDialog
from quickserveml_tui.tui.screens.report import ReportDialog, WhyDialog
from quickserveml_tui.tui.screens.scan import HitTable
from quickserveml_tui.tui.screens.serve import ServeScreen
from quickserveml_tui.tui.screens.trash import TrashTable
from quickserveml_tui.tui.screens.workbench import WorkbenchScreen

OWNERS: tuple[type[DOMNode], ...] = (
    WorkbenchApp,
    WorkbenchScreen,
    CatalogPane,
    FilterInput,
    StartChoices,
    InspectorPane,
    Page,
    LayerView,
    LayerFilter,
    GoldenView,
    GoldenTable,
    BenchmarkPane,
    JobsPane,
    PaneTable,
    Dialog,
    QuitDialog,
    MessageDialog,
    FieldInput,
    ChoiceField,
    HitTable,
    TrashTable,
    ReportDialog,
    WhyDialog,
    OutputsDialog,
    InputsForm,
    ServeScreen,
    ServersPane,
    RequestPane,
    RequestEditor,
    LogPane,
    LogFilter,
    MonitorScreen,
    LatencyPane,
    ModelsPane,
    AddressForm,
)


def keys_page() -> str:
    """The text of `docs/keys.md`."""
    return keys_document(OWNERS)
