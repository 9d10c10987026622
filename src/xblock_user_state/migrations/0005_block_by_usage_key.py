"""An index for lookups of a block without its course. While it is built, PostgreSQL lets no new block be registered."""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('xblock_user_state', '0004_history_checksum'),
    ]

    operations = [
        migrations.AddIndex(
            model_name='block',
            index=models.Index(fields=['usage_key'], name='xus_block_key_in_any_course'),
        ),
    ]
