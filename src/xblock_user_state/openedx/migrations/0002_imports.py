import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('xblock_user_state_openedx', '0001_row_numbers'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='ImportedFields',
            fields=[
                ('id', models.BigIntegerField(primary_key=True, serialize=False)),
                ('revision', models.BigIntegerField()),
            ],
        ),
        migrations.CreateModel(
            name='ImportProgress',
            fields=[
                ('name', models.CharField(max_length=200, primary_key=True, serialize=False)),
                ('learner', models.BigIntegerField(null=True)),
                ('started', models.DateTimeField()),
                ('ended', models.DateTimeField(null=True)),
                ('covered', models.DateTimeField(null=True)),
            ],
        ),
        migrations.CreateModel(
            name='ImportedModule',
            fields=[
                ('id', models.BigIntegerField(primary_key=True, serialize=False)),
                ('block_id', models.BigIntegerField()),
                ('revision', models.BigIntegerField()),
                ('checksum', models.IntegerField(null=True)),
                ('student', models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.DO_NOTHING, related_name='+', to=settings.AUTH_USER_MODEL)),
            ],
            options={
                'indexes': [models.Index(fields=['student', 'block_id'], name='xus_imported_student_block')],
            },
        ),
    ]
