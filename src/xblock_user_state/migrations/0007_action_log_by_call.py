"""An index for pages of one call in the action log."""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('xblock_user_state', '0006_action_log'),
    ]

    operations = [
        migrations.AlterField(
            model_name='loggedaction',
            name='run',
            field=models.UUIDField(),
        ),
        migrations.AddIndex(
            model_name='loggedaction',
            index=models.Index(fields=['run', 'created', 'id'], name='xus_action_run'),
        ),
    ]
