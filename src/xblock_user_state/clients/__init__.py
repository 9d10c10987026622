"""The front that every client shares: checked arguments, batches, and base classes. No Django, no storage."""
