"""A pytest plugin for the platform's tests.

It puts a database in memory in the place of MongoDB, where the platform keeps courses. And it makes the test databases
as a site has them that moves: with the platform's tables. The platform's tests make tables without migrations, from the
models, whose table depends on the stage.
"""

from __future__ import annotations

from typing import Any

import mongomock
import pymongo
from django.test import utils
from django.test.utils import setup_databases
from mongomock.gridfs import enable_gridfs_integration

from xblock_user_state.openedx.platform.served_table import on_the_platforms_tables

_CLIENT: list[Any] = []


def _client(*_: Any, **options: Any) -> Any:
    # One server, as the platform makes a connection for each module store.
    if not _CLIENT:
        _CLIENT.append(mongomock.MongoClient(tz_aware=options.get("tz_aware", True)))
    return _CLIENT[0]


# The platform asks whether the server answers.
mongomock.Database.command = lambda *_, **__: {"ok": 1.0}
pymongo.MongoClient = _client  # type: ignore[assignment,misc]
enable_gridfs_integration()


def _setup_databases(*arguments: Any, **options: Any) -> Any:
    with on_the_platforms_tables():
        return setup_databases(*arguments, **options)


utils.setup_databases = _setup_databases
