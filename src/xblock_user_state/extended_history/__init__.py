"""The extended history: a Django app with one table, in a separate database."""
