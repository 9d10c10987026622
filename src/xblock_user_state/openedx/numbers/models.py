"""The numbers of blocks."""

from __future__ import annotations

from typing import Any, ClassVar

from django.db import models

from xblock_user_state.store.models import Block


class BlockNumber(models.Model):
    """A number of a registered block, small enough to be a part of the number of a row.

    The ids of blocks are hashes of 64 bits. Each block gets its number in the transaction that registers it. Blocks
    that were registered without this app get theirs from ``manage.py openedx_views``.

    .. no_pii: Numbers of blocks only.
    """

    number = models.BigAutoField(primary_key=True)
    # No constraint: its check would lock the block's row.
    block = models.OneToOneField(Block, on_delete=models.CASCADE, db_constraint=False, related_name="+")

    objects: ClassVar[Any] = models.Manager()

    def __str__(self) -> str:
        return f"{self.number}: block {self.block}"
