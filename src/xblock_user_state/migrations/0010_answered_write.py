"""Writes that their callers named, so that a repetition over a network writes nothing."""

import django.db.models.deletion
import xblock_user_state.fields
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('xblock_user_state', '0009_history_partitions'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='AnsweredWrite',
            fields=[
                ('pk', models.CompositePrimaryKey('student_id', 'key', blank=True, editable=False, primary_key=True, serialize=False)),
                ('key', xblock_user_state.fields.KeyField(max_length=64)),
                ('request', models.CharField(max_length=32)),
                ('answer', models.TextField()),
                ('created', models.DateTimeField()),
                ('student', models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.DO_NOTHING, related_name='+', to=settings.AUTH_USER_MODEL)),
            ],
        ),
    ]
