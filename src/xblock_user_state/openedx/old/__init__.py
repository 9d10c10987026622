"""The platform's old tables: their columns, their rows in pages, and the mapping of their keys and values to ours."""
