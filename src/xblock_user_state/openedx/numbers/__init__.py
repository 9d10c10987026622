"""A number for every row of ``StudentModule``, where code expects one (docs/decisions/0026)."""
