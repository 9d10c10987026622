"""Open edX sites on this store: import of the old tables, views under the old names, and the platform's plugin."""
