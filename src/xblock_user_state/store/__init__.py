"""Learner state in SQL: compare-and-set writes, reads, the block registry, and iteration.

Imports go down only: `writer` decides about locks and retries, `blocks` and `reader` build statements, `dialects` hold
the SQL of each vendor. The meaning of a state lives in `state`, and that of a history entry in `history`.
"""
