"""An app of a host that has nothing to do with learner state; only its migrations matter."""
