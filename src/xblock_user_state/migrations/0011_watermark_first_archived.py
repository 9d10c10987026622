"""The first revision that the archive must have of a history. Of older watermarks it is not known."""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('xblock_user_state', '0010_answered_write'),
    ]

    operations = [
        migrations.AddField(
            model_name='historywatermark',
            name='first_archived',
            field=models.BigIntegerField(default=0),
        ),
    ]
