"""Pure functions from a Snapshot to table rows and lines of text. Nothing here knows a widget."""
