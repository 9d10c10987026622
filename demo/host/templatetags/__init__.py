"""Template filters of the host."""
