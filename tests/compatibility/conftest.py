"""These tests have an environment of their own, which `make compatibility` makes; in others there is nothing to run."""

from __future__ import annotations

from importlib.util import find_spec

collect_ignore_glob = [] if find_spec("workbench") else ["test_*.py"]
