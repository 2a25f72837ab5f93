"""How much WAL a source may keep for a task."""

from __future__ import annotations

from django import forms


class WalForm(forms.Form):
    """Texts as they were typed; the services read and judge them."""

    budget = forms.CharField(required=False, max_length=30)
    disk = forms.CharField(required=False, max_length=30)
    policy = forms.CharField(max_length=20)
