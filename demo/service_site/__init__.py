"""A host that serves the store over HTTP: ``make serve``."""
