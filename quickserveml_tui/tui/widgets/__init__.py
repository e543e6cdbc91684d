"""The widget kit of the terminal interface; import each widget from its module.

All widgets take outside strings through `safe_text` and build content without markup; none draws a frame, and none has
a timer while nothing runs.

| module | widgets |
|---|---|
| `pane` | `Pane`: a surface with a title row that says three times where the focus is; `PaneTitle`, `FocusRule` |
| `shelf` | `Shelf`: facts on what the cursor is on; `FactsGrid`, `Fact` |
| `virtual_table` | `VirtualTable`: rows of any number; its `Column`, `Cell` and `RowSource` are in `table_cells` |
| `tab_row` | `TabRow`: tabs inside a pane |
| `hero` | `Hero`: the one figure of a screen |
| `traces` | `TraceChart`: live latency; `StripChart`: a figure with how it went |
| `histogram` | `HistogramView`: drawn by plotext in a thread |
| `progress_row` | `ProgressRow`: a job with its bar and note |
| `empty` | `EmptyState`: why nothing is here and which key fills it; `ChoiceList`: large choices |
| `status` | `HeaderBar`, `StatusLine` |
| `key_footer` | `KeyFooter`: derived from the active bindings |
| `ink` | `Inked`, the base of widgets that are rows of spans; `Lines`; `say`, `two_edges`, `crop_row`, `rich_style` |
"""
