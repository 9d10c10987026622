"""The history of every learner's changes: recording, reading, and deletion with what it belongs to."""
