"""The site under measurement: its settings, courses, learners and rows, its database server and its machine."""
