"""Commands of ``manage.py``: they parse arguments, show progress, and print results. Other rooms do the work."""
