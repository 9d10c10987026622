"""The SQL: keys, rows, iteration. It moves data and decides nothing about its meaning."""
