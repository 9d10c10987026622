"""A pytest plugin that puts a database in memory in the place of MongoDB, where the platform keeps courses."""

from __future__ import annotations

from typing import Any

import mongomock
import pymongo
from mongomock.gridfs import enable_gridfs_integration

_CLIENT: list[Any] = []


def _client(*_: Any, **options: Any) -> Any:
    # One server, as the platform makes a connection for each module store.
    if not _CLIENT:
        _CLIENT.append(mongomock.MongoClient(tz_aware=options.get("tz_aware", True)))
    return _CLIENT[0]


# The platform asks whether the server answers.
mongomock.Database.command = lambda *_, **__: {"ok": 1.0}
pymongo.MongoClient = _client
enable_gridfs_integration()
