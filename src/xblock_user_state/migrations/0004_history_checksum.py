"""The checksum of the newest history entry's text. All servers add such a column without rewriting the table."""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('xblock_user_state', '0003_fill_factor'),
    ]

    operations = [
        migrations.AddField(
            model_name='studentmodule',
            name='history_checksum',
            field=models.IntegerField(null=True),
        ),
    ]
