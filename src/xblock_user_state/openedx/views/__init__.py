"""Read-only SQL views under the platform's names and columns."""
