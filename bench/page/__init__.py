"""The page docs/performance.md: tables and charts, rendered from stored results. Nothing here measures."""
