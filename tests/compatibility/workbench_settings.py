"""Settings of the stock workbench of xblock-sdk, with our store under it."""

from __future__ import annotations

import os

from workbench.settings import *  # noqa: F403
from workbench.settings import INSTALLED_APPS as STOCK_APPS
from workbench.settings import WORKBENCH as STOCK_WORKBENCH

INSTALLED_APPS = [*STOCK_APPS, "xblock_user_state"]
WORKBENCH = {
    **STOCK_WORKBENCH,
    "services": {
        **STOCK_WORKBENCH["services"],
        "field-data": "tests.compatibility.workbench_field_data.WorkbenchFieldData",
    },
}
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.environ["WORKBENCH_DATABASE"],
        "OPTIONS": {
            "transaction_mode": "IMMEDIATE",
            "timeout": 20,
            "init_command": "PRAGMA journal_mode=WAL;PRAGMA synchronous=NORMAL;",
        },
    }
}
XBLOCK_USER_STATE = {"RECORDED_BLOCK_TYPES": "*"}
