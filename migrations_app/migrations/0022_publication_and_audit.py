from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("migrations_app", "0021_sync_rates")]

    operations = [
        migrations.AddField("tablecopy", "published_by", models.JSONField(blank=True, default=list)),
        migrations.AddField("taskdatabase", "publication_row", models.CharField(blank=True, default="", max_length=20)),
    ]
