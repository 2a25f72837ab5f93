"""Addresses of the console."""

from __future__ import annotations

from django.urls import URLPattern, include, path

from .views import actions, check, detail, health, listing, objects, session, settings

_tasks: list[URLPattern] = [
    path("", listing.task_list, name="list"),
    path("live/", listing.live_rows, name="live"),
    path("tasks/new/", settings.create, name="create"),
    path("tasks/<uuid:task_id>/", detail.task_page, name="detail"),
    path("tasks/<uuid:task_id>/progress/", detail.progress, name="progress"),
    path("tasks/<uuid:task_id>/settings/", settings.edit, name="settings"),
    path("tasks/<uuid:task_id>/settings/test/<str:side>/", settings.test, name="test"),
    path("tests/<uuid:test_id>/", settings.test_result, name="test-result"),
    path("tasks/<uuid:task_id>/objects/", objects.page, name="objects"),
    path("tasks/<uuid:task_id>/objects/level/", objects.level, name="tree"),
    path("tasks/<uuid:task_id>/objects/toggle/", objects.toggle, name="toggle"),
    path("tasks/<uuid:task_id>/objects/parents/", objects.parents, name="parents"),
    path("tasks/<uuid:task_id>/objects/read/", objects.read, name="read"),
    path("tasks/<uuid:task_id>/check/", check.page, name="check"),
    path("tasks/<uuid:task_id>/check/items/", check.items, name="check-items"),
    path("tasks/<uuid:task_id>/check/run/", check.run, name="check-run"),
    path("tasks/<uuid:task_id>/<slug:action>/", actions.perform, name="action"),
    path("tasks/<uuid:task_id>/<slug:action>/confirm/", actions.confirm, name="confirm"),
]

urlpatterns = [
    path("", include((_tasks, "tasks"))),
    path("login/", session.SignIn.as_view(), name="login"),
    path("logout/", session.SignOut.as_view(), name="logout"),
    path("healthz", health.alive, name="health"),
    path("readyz", health.ready, name="ready"),
]

handler403 = "console.views.errors.forbidden"
handler404 = "console.views.errors.missing"
handler500 = "console.views.errors.broken"
