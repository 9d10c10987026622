"""The tables of the Open edX platform, as its migrations make them, for tests and the benchmark."""
