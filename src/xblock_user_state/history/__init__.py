"""The history of each learner and block: tables, encoding, recording, reading, and deletion."""
