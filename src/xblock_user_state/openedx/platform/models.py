"""The table of differences that the stages find."""

from __future__ import annotations

from django.db import models


class StageDifference(models.Model):
    """A field of a block in which the two stores differed after a write. As many rows as there are such fields.

    ``key`` is the text of the block's usage key, or of the block type; empty for fields of a learner.

    .. no_pii: Keys of blocks and names of fields only.
    """

    scope = models.CharField(max_length=32)
    key = models.CharField(max_length=255)
    field = models.CharField(max_length=255)
    times = models.PositiveBigIntegerField()
    last_seen = models.DateTimeField()

    class Meta:
        constraints = (models.UniqueConstraint(fields=("scope", "key", "field"), name="xus_openedx_difference"),)

    def __str__(self) -> str:
        return f"{self.scope} {self.key} {self.field}: {self.times}"
