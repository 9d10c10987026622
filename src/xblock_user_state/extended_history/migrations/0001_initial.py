"""The extended history."""

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):

    initial = True

    dependencies = [
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='StudentModuleHistoryExtended',
            fields=[
                ('pk', models.CompositePrimaryKey('student_id', 'block_id', 'revision', blank=True, editable=False, primary_key=True, serialize=False)),
                ('block_id', models.BigIntegerField()),
                ('revision', models.BigIntegerField()),
                ('created', models.DateTimeField()),
                ('encoding', models.PositiveSmallIntegerField()),
                ('body', models.BinaryField(null=True)),
                ('grade', models.FloatField(null=True)),
                ('max_grade', models.FloatField(null=True)),
                ('version', models.CharField(max_length=255, null=True)),
                ('actor', models.ForeignKey(db_constraint=False, db_index=False, null=True, on_delete=django.db.models.deletion.DO_NOTHING, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('student', models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.DO_NOTHING, related_name='+', to=settings.AUTH_USER_MODEL)),
            ],
        ),
    ]
