from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("migrations_app", "0020_target_system")]

    operations = [
        migrations.AddField("migrationtask", "wal_bytes_per_second", models.FloatField(blank=True, null=True)),
        migrations.AddField("migrationtask", "applied_bytes_per_second", models.FloatField(blank=True, null=True)),
        migrations.AddField("migrationtask", "catching_up", models.BooleanField(blank=True, null=True)),
        migrations.AddField("migrationtask", "rates", models.JSONField(blank=True, default=dict)),
        migrations.AddField("taskdatabase", "source_lsn", models.BigIntegerField(blank=True, null=True)),
        migrations.AddField("taskdatabase", "source_at", models.FloatField(blank=True, null=True)),
        migrations.AddField("taskdatabase", "shapes_seen", models.CharField(blank=True, default="", max_length=140)),
        migrations.AddField("sample", "wal_bytes_per_second", models.FloatField(blank=True, null=True)),
    ]
