"""The parts that all clients share: argument checks, batches and the base class. No Django, no storage.

The clients themselves are `client`, `memory` and `ephemeral`.
"""
