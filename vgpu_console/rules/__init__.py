"""Pure decisions over facts and snapshots: nothing here asks a system, and every answer can say why."""
