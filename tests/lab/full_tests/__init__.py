"""Tests on the full lab: Nova itself boots servers with vGPUs on two machines and migrates them live between them."""
