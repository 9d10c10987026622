"""A decoded copy of the history, for readers that know SQL only."""
