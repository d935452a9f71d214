"""A terminal console for operators of virtual GPUs on OpenStack."""

__version__ = "0.1.0"
