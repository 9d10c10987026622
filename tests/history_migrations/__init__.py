"""Migrations of the extended history: the real one, and a data migration as a later release may bring."""
