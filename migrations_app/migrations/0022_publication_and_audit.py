from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("migrations_app", "0021_sync_rates")]

    operations = [
        migrations.CreateModel(
            name="AuditAsked",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("at", models.DateTimeField()),
                ("actor", models.CharField(max_length=150)),
                ("address", models.CharField(blank=True, default="", max_length=64)),
                ("action", models.CharField(max_length=60)),
                ("subject", models.CharField(blank=True, default="", max_length=200)),
                ("about", models.UUIDField(blank=True, null=True)),
            ],
            options={"indexes": [models.Index(fields=["at"], name="migrations_asked_at_idx")]},
        ),
        migrations.AddField("tablecopy", "published_by", models.JSONField(blank=True, default=list)),
        migrations.AddField("taskdatabase", "publication_row", models.CharField(blank=True, default="", max_length=20)),
    ]
