from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('migrations_app', '0014_told_listings'),
    ]

    operations = [
        migrations.AddField(
            model_name='comparisonresult',
            name='rows_applied',
            field=models.BigIntegerField(blank=True, null=True),
        ),
    ]
