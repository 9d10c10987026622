"""The beginnings of histories whose early entries are in an archive, or were dropped."""

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('xblock_user_state', '0007_action_log_by_call'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='HistoryWatermark',
            fields=[
                ('pk', models.CompositePrimaryKey('student_id', 'block_id', blank=True, editable=False, primary_key=True, serialize=False)),
                ('block_id', models.BigIntegerField()),
                ('first_kept', models.BigIntegerField()),
                ('last_archived', models.BigIntegerField()),
                ('student', models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.DO_NOTHING, related_name='+', to=settings.AUTH_USER_MODEL)),
            ],
            options={
                'indexes': [models.Index(fields=['first_kept'], name='xus_watermark_first_kept')],
            },
        ),
    ]
