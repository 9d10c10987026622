"""The tables of state and default history, with the columns that later encodings and a second database need."""

import django.db.models.deletion
import xblock_user_state.fields
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):

    initial = True

    dependencies = [
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='Block',
            fields=[
                ('id', models.BigIntegerField(primary_key=True, serialize=False)),
                ('usage_key', xblock_user_state.fields.KeyField(max_length=255)),
                ('block_type', xblock_user_state.fields.KeyField(max_length=255)),
            ],
        ),
        migrations.CreateModel(
            name='LearningContext',
            fields=[
                ('id', models.BigIntegerField(primary_key=True, serialize=False)),
                ('key', xblock_user_state.fields.KeyField(max_length=255)),
            ],
        ),
        migrations.CreateModel(
            name='UserInfo',
            fields=[
                ('revision', models.BigIntegerField()),
                ('state', models.TextField(null=True)),
                ('created', models.DateTimeField()),
                ('modified', models.DateTimeField()),
                ('student', models.OneToOneField(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.DO_NOTHING, primary_key=True, related_name='+', serialize=False, to=settings.AUTH_USER_MODEL)),
            ],
            options={
                'abstract': False,
            },
        ),
        migrations.CreateModel(
            name='UserStateSummary',
            fields=[
                ('revision', models.BigIntegerField()),
                ('state', models.TextField(null=True)),
                ('created', models.DateTimeField()),
                ('modified', models.DateTimeField()),
                ('block', models.OneToOneField(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.PROTECT, primary_key=True, related_name='+', serialize=False, to='xblock_user_state.block')),
            ],
            options={
                'abstract': False,
            },
        ),
        migrations.AddField(
            model_name='block',
            name='context',
            field=models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='blocks', to='xblock_user_state.learningcontext'),
        ),
        migrations.CreateModel(
            name='Preferences',
            fields=[
                ('revision', models.BigIntegerField()),
                ('state', models.TextField(null=True)),
                ('created', models.DateTimeField()),
                ('modified', models.DateTimeField()),
                ('pk', models.CompositePrimaryKey('student_id', 'block_type', blank=True, editable=False, primary_key=True, serialize=False)),
                ('block_type', xblock_user_state.fields.KeyField(max_length=255)),
                ('student', models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.DO_NOTHING, related_name='+', to=settings.AUTH_USER_MODEL)),
            ],
        ),
        migrations.CreateModel(
            name='StudentModule',
            fields=[
                ('revision', models.BigIntegerField()),
                ('state', models.TextField(null=True)),
                ('created', models.DateTimeField()),
                ('modified', models.DateTimeField()),
                ('pk', models.CompositePrimaryKey('student_id', 'block_id', blank=True, editable=False, primary_key=True, serialize=False)),
                ('grade', models.FloatField(null=True)),
                ('max_grade', models.FloatField(null=True)),
                ('done', models.CharField(choices=[('na', 'not applicable'), ('f', 'finished'), ('i', 'incomplete')], db_default='na', default='na', max_length=8)),
                ('block', models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='xblock_user_state.block')),
                ('student', models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.DO_NOTHING, related_name='+', to=settings.AUTH_USER_MODEL)),
            ],
        ),
        migrations.CreateModel(
            name='StudentModuleHistory',
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
            options={
                'abstract': False,
            },
        ),
        migrations.AddConstraint(
            model_name='learningcontext',
            constraint=models.UniqueConstraint(fields=('key',), name='xus_context_key'),
        ),
        migrations.AddConstraint(
            model_name='block',
            constraint=models.UniqueConstraint(fields=('context', 'usage_key'), name='xus_block_usage_key'),
        ),
        migrations.AddIndex(
            model_name='preferences',
            index=models.Index(fields=['block_type', 'student'], name='xus_preferences_type_student'),
        ),
        migrations.AddIndex(
            model_name='studentmodule',
            index=models.Index(fields=['block', 'student'], name='xus_module_block_student'),
        ),
    ]
