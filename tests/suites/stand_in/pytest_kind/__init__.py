"""In place of pytest-kind, which would start a cluster of its own."""
