"""Import of the platform's old tables: learner by learner, resumable, with a report; and the comparison of both."""
