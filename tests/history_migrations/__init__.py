"""The migrations of the extended history, and one that the future may bring: of its data."""
