from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("migrations_app", "0023_tablecopy_numbers")]

    operations = [
        migrations.AddField("migrationtask", "tries_of", models.JSONField(blank=True, default=dict)),
    ]
