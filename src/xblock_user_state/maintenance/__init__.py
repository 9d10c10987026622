"""Jobs over all learners, for commands. With `archive` and `store.iteration` the only statements without a learner."""
