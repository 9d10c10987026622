"""The service: the contract over HTTP, for hosts that are not the process with the database.

``path("state/", include("xblock_user_state.service.urls"))`` mounts it. It needs the extra ``server``, and is no
Django app: its one table, of named writes, is the store's.
"""
