import django.db.models.deletion
import opaque_keys.edx.django.models
from django.conf import settings
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import StateApps

import xblock_user_state.openedx.compatible.lookups
import xblock_user_state.openedx.compatible.rows


def number_blocks(apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Give numbers to the blocks that are registered already."""
    quote = schema_editor.quote_name
    block, number = (apps.get_model(name)._meta.db_table for name in (
        "xblock_user_state.Block", "xblock_user_state_openedx.BlockNumber"
    ))
    with schema_editor.connection.cursor() as cursor:
        cursor.execute(f"INSERT INTO {quote(number)} (block_id) SELECT id FROM {quote(block)} ORDER BY id")


class Migration(migrations.Migration):

    initial = True

    dependencies = [
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
        ('xblock_user_state', '0004_history_checksum'),
    ]

    operations = [
        migrations.CreateModel(
            name='BlockNumber',
            fields=[
                ('number', models.BigAutoField(primary_key=True, serialize=False)),
                ('block', models.OneToOneField(db_constraint=False, on_delete=django.db.models.deletion.CASCADE, related_name='+', to='xblock_user_state.block')),
            ],
        ),
        migrations.RunPython(number_blocks, migrations.RunPython.noop),
        migrations.CreateModel(
            name='DecodedHistory',
            fields=[
                ('id', models.BigAutoField(primary_key=True, serialize=False)),
                ('block_id', models.BigIntegerField()),
                ('revision', models.BigIntegerField()),
                ('version', models.CharField(max_length=255, null=True)),
                ('created', models.DateTimeField(db_index=True)),
                ('state', models.TextField(null=True)),
                ('grade', models.FloatField(null=True)),
                ('max_grade', models.FloatField(null=True)),
                ('student', models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.DO_NOTHING, related_name='+', to=settings.AUTH_USER_MODEL)),
            ],
            options={
                'constraints': [models.UniqueConstraint(fields=('student', 'block_id', 'revision'), name='xus_decoded_entry')],
            },
        ),
        migrations.CreateModel(
            name='CompatibleStudentModule',
            fields=[
                ('id', xblock_user_state.openedx.compatible.lookups.RowNumberField(primary_key=True, serialize=False)),
                ('module_type', models.CharField(max_length=255)),
                ('module_state_key', opaque_keys.edx.django.models.UsageKeyField(db_column='module_id', max_length=255)),
                ('course_id', opaque_keys.edx.django.models.LearningContextKeyField(max_length=255)),
                ('state', models.TextField(blank=True, null=True)),
                ('grade', models.FloatField(blank=True, null=True)),
                ('max_grade', models.FloatField(blank=True, null=True)),
                ('done', models.CharField(choices=[('na', 'not applicable'), ('f', 'finished'), ('i', 'incomplete')], default='na', max_length=8)),
                ('created', models.DateTimeField(editable=False)),
                ('modified', models.DateTimeField(editable=False)),
            ],
            options={
                'db_table': 'xblock_user_state_openedx_studentmodule',
                'managed': False,
                'base_manager_name': 'objects',
            },
            bases=(xblock_user_state.openedx.compatible.rows.CompatibleRow, models.Model),
        ),
    ]
