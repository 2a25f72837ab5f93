from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("migrations_app", "0022_publication_and_audit")]

    operations = [
        migrations.AddField("tablecopy", "numbers", models.JSONField(blank=True, default=list)),
    ]
