"""The extended history's real first migration."""

from __future__ import annotations

from importlib import import_module

Migration = import_module("xblock_user_state.extended_history.migrations.0001_initial").Migration
