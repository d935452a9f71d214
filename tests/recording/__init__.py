"""Recordings: what is written comes back, whatever happens to the file; replays; scrubbing."""
