"""A host's app without learner state; tests run its migrations only."""
