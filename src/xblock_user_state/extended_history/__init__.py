"""The extended history: a Django app whose one table lives in a database of its own."""
