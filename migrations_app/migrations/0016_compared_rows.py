from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('migrations_app', '0015_new_tables'),
    ]

    operations = [
        migrations.AddField(
            model_name='comparisonresult',
            name='rows_applied',
            field=models.BigIntegerField(blank=True, null=True),
        ),
    ]
