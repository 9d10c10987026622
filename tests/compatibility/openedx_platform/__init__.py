"""Modules that the platform's own tests run with, in the platform's environment."""
