"""The parts that all clients share: argument checks, batches and the base class. No Django, no storage."""
