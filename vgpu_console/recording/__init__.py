"""Recordings of a fleet: written frame by frame, read back at any moment, replayed, and scrubbed to be handed over."""
