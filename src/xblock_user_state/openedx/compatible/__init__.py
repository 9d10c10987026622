"""A ``StudentModule`` for code written for the platform: the old columns, and writes through the write path."""
