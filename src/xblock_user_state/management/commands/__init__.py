"""The commands of ``manage.py``. Each is a thin shell: what it does is in `history`."""
