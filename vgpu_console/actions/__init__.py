"""Everything that changes the world: plan, show, confirm, re-check, apply, verify, journal. One way for all of it."""
