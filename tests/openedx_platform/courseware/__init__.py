"""Stands in for the app of learner state."""
