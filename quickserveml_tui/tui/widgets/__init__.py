"""The widget kit of the terminal interface; import each widget from its module.

All widgets take outside strings through `safe_text` and build `Content` without markup; none draws a frame.

`pane`
    `Pane(*children, key="1", title="Catalog", noun="model", id=…)`: a surface. Reactives `subject` (bold, right),
    `count` (int or None) with `noun` (`count_text` overrides both), `live` (`● live` before the right part),
    `sort_note` (`by ms ▼`, last on the right), `tabbed`. `pane.set_title_right("18 of 30 s")`.
    `pane.toggle_maximised()`; class `-maximised`. It holds `PaneTitle` and lays children out below with the padding
    of the design; a child with class `-bleed` (tables, shelves) uses the full width. Focus anywhere inside says so
    three times.
`shelf`
    `Shelf(*children)`: raised panel at a pane's foot. `Shelf.show(title=…, right=…, subtitle=…, facts=[Fact(…),
    …])`. `Fact(label, value, unit="", role=Role.TEXT)`; `FactsGrid(facts, columns=2)` with `update_facts(facts)`.
`virtual_table`
    `Column(key, title, width=None, align="left"|"right"|"decimal", kind="text"|"number"|"name"|"bar"|"state",
    min_width=4, drop=0, sortable=True, flex=0)`: columns with a higher `drop` leave first when it gets narrow; 0
    stays. `VirtualTable(columns, empty="No rows", sort_key=None, sort_descending=False)`; `set_rows(RowSource |
    Sequence)` where a row is a `Mapping[str, Cell | str | float | None]`; `RowSource` is `(__len__,
    __getitem__(index) -> Row)`. `Cell(value, text="", role=None, bold=False, suffix="", suffix_role=Role.MUTED)`.
    `cursor_row`, `move_cursor(row)`, `row_at(i)`, `set_filter(predicate | None)`, `sort_by(key, descending)`,
    `marked` (set of row keys), `key_of(row)` hook. A row mapping may carry `"_key"` (identity over refreshes),
    `"_group"` (a heading row, muted, not selectable), `"_dim"`. Messages: `RowHighlighted(table, index, row)`,
    `RowSelected(…)`, `SortChanged(table, key, descending)`, `MarksChanged(table, count)`. `as_table()` gives
    headers and text rows for copy and export.
`tab_row`
    `TabRow([("overview", "Overview"), …], active="overview")`; `active` reactive, `next_tab()`, `previous_tab()`,
    message `TabRow.Changed(row, tab)`; `set_counts({"layers": 176})`.
`hero`
    `Hero(value="–", unit="ms", label="p50")`; `show(value, unit, label)`; three rows, or one bold figure where
    narrow.
`traces`
    `TraceChart()`: `begin(total_s=…)`, `update_frame(BenchmarkFrame)`, `show_series(LatencySeries)`, `finish()`,
    `clear()`, `paint_hz` (10, or 2 while measuring), `as_table()`. `StripChart(label, unit, format)`:
    `begin(total_s=…)`, `add(time_s, value)`, `finish()`, `clear()`: label, figure, unit, strip on the same time
    axis.
`histogram`
    `HistogramView()`: `show(HistogramData | None, marks={"p50": 21.8})`; drawn in a thread worker; `as_table()`.
`progress_row`
    `ProgressRow(kind, subject)`: `show(state="running"|"queued"|"held"|"done"|"failed"|"cancelled", fraction=0.6,
    right=…, note=…, keys=…)`; `show_job(JobRecord)`.
`empty`
    `EmptyState(sentence, keys=[("b", "runs one, once a model is picked")])`; `ChoiceList([Choice("d", "Open the
    demo models", "Five small networks…", action="app.open_demo")], heading=…, subheading=…)` with message
    `ChoiceList.Chosen(choice)`.
`status`
    `HeaderBar(product, screens=[("workbench", "Workbench")], current=…)`: `show_host(HostStatus | None)`, `place`.
    `StatusLine()`: `breadcrumb` (tuple of str), `tell(text, role=Role.OK)`, `show_command(text)`.
`key_footer`
    `KeyFooter()`: derived from the active bindings of the focused chain; refreshes on focus and binding changes.
"""
