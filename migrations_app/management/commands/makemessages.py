"""`manage.py makemessages`: Django's own, which also collects the sentences of the engine (`engine.wording`)."""

from __future__ import annotations

from django.core.management.commands import makemessages


class Command(makemessages.Command):
    """Collects what `say` and `template` are given, and both numbers of what `count` is given."""

    xgettext_options: list[str] = [  # noqa: RUF012 - Django's own attribute
        *makemessages.Command.xgettext_options,
        "--keyword=say:1",
        "--keyword=template:1",
        "--keyword=count:2,3",
        "--keyword=one:1",
    ]
