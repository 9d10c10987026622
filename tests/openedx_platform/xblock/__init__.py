"""Stands in for the app of blocks of libraries."""
