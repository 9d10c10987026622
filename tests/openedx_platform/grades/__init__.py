"""Stands in for the app of grades."""
