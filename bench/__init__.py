"""The benchmark: measures what the documentation states as figures. See ``python -m bench --help``."""
