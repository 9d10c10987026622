"""What learner state means, as functions of values: no Django, no database."""
