"""The lab cloud. ``cli`` runs on any Python 3.11; the ``run_*`` modules run inside the lab's own environment."""
