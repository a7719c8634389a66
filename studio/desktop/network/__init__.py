"""The Network tab: graph, inspector, table, trade-off, blame."""
