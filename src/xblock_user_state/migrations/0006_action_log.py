"""The action log: acts of staff on learners' state."""

import django.db.models.deletion
import uuid
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('xblock_user_state', '0005_block_by_usage_key'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='LoggedAction',
            fields=[
                ('id', models.UUIDField(default=uuid.uuid4, primary_key=True, serialize=False)),
                ('run', models.UUIDField(db_index=True)),
                ('act', models.CharField(max_length=32)),
                ('reason', models.TextField()),
                ('revision_before', models.BigIntegerField(null=True)),
                ('revision_after', models.BigIntegerField(null=True)),
                ('created', models.DateTimeField(db_index=True)),
                ('undone_by', models.UUIDField(null=True)),
                ('actor', models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.DO_NOTHING, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('block', models.ForeignKey(db_constraint=False, db_index=False, null=True, on_delete=django.db.models.deletion.DO_NOTHING, related_name='+', to='xblock_user_state.block')),
                ('context', models.ForeignKey(db_constraint=False, db_index=False, null=True, on_delete=django.db.models.deletion.DO_NOTHING, related_name='+', to='xblock_user_state.learningcontext')),
                ('student', models.ForeignKey(db_constraint=False, db_index=False, null=True, on_delete=django.db.models.deletion.DO_NOTHING, related_name='+', to=settings.AUTH_USER_MODEL)),
            ],
            options={
                'indexes': [models.Index(fields=['student', 'block', 'created'], name='xus_action_student')],
            },
        ),
    ]
