"""The signals of grades."""
