"""Keeps and reads the history of each learner and block: tables, encoding, recording, reading, deletion, outbox."""
