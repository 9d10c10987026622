"""Skips these tests outside the environment that `make compatibility` sets up."""

from __future__ import annotations

from importlib.util import find_spec

collect_ignore_glob = [] if find_spec("workbench") else ["test_*.py"]
