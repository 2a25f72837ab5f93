"""Addresses of the console."""

from __future__ import annotations

from django.urls import URLPattern, include, path

from .views import (
    accounts,
    actions,
    audit,
    check,
    detail,
    endpoints,
    fix,
    health,
    knobs,
    language,
    listing,
    many,
    mapping,
    objects,
    options,
    passwords,
    prepare,
    reach,
    report,
    resources,
    session,
    settings,
    setup,
)

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
    path("tasks/<uuid:task_id>/objects/parents/", options.parents, name="parents"),
    path("tasks/<uuid:task_id>/objects/mode/", objects.mode, name="mode"),
    path("tasks/<uuid:task_id>/objects/matching/", objects.matching, name="matching"),
    path("tasks/<uuid:task_id>/objects/forget/", objects.forget, name="forget"),
    path("tasks/<uuid:task_id>/objects/needs/", options.closure, name="closure"),
    path("tasks/<uuid:task_id>/objects/keys/", options.keys, name="keys"),
    path("tasks/<uuid:task_id>/objects/roles/", options.roles, name="roles"),
    path("tasks/<uuid:task_id>/objects/existing/", options.existing, name="existing"),
    path("tasks/<uuid:task_id>/objects/follow/", options.follow, name="follow"),
    path("tasks/<uuid:task_id>/objects/names/", mapping.page, name="mapping"),
    path("tasks/<uuid:task_id>/objects/read/", options.read, name="read"),
    path("tasks/<uuid:task_id>/check/", check.page, name="check"),
    path("tasks/<uuid:task_id>/check/items/", check.items, name="check-items"),
    path("tasks/<uuid:task_id>/check/run/", check.run, name="check-run"),
    path("tasks/<uuid:task_id>/check/without-sync/", check.leave_out_sync, name="check-without-sync"),
    path("tasks/<uuid:task_id>/check/report.<slug:form>", check.report, name="check-report"),
    path("tasks/<uuid:task_id>/check/<int:item_id>/acknowledge/", check.acknowledge, name="check-acknowledge"),
    path("tasks/<uuid:task_id>/check/<int:item_id>/withdraw/", check.withdraw, name="check-withdraw"),
    path("tasks/<uuid:task_id>/check/<int:item_id>/fix/", fix.page, name="check-fix"),
    path("tasks/<uuid:task_id>/prepare/", prepare.page, name="prepare"),
    path("tasks/<uuid:task_id>/prepare/look/", prepare.look, name="prepare-look"),
    path("tasks/<uuid:task_id>/prepare/result/", prepare.result, name="prepare-result"),
    path("tasks/<uuid:task_id>/passwords/", passwords.page, name="passwords"),
    path("tasks/<uuid:task_id>/access/", reach.page, name="access"),
    path("tasks/<uuid:task_id>/table/<str:action>/", actions.table, name="table"),
    path("tasks/<uuid:task_id>/new-table/<str:action>/", actions.new_table, name="new-table"),
    path("tasks/<uuid:task_id>/clone/", actions.clone, name="clone"),
    path("tasks/<uuid:task_id>/tags/", actions.tag, name="tags"),
    path("tasks/<uuid:task_id>/speed/", actions.tune, name="tune"),
    path("tasks/<uuid:task_id>/wal/", knobs.wal, name="wal"),
    path("tasks/<uuid:task_id>/report.html", report.as_html, name="report"),
    path("tasks/<uuid:task_id>/report.json", report.as_json, name="report-json"),
    path("tasks/many/<slug:action>/", many.perform, name="many"),
    path("tasks/many/confirm/<slug:action>/", many.confirm, name="many-confirm"),
    path("tasks/<uuid:task_id>/<slug:action>/", actions.perform, name="action"),
    path("tasks/<uuid:task_id>/<slug:action>/confirm/", actions.confirm, name="confirm"),
]

_endpoints: list[URLPattern] = [
    path("", endpoints.endpoint_list, name="list"),
    path("new/", endpoints.create, name="create"),
    path("fields/<str:side>/", endpoints.fields, name="fields"),
    path("<uuid:saved_id>/", endpoints.edit, name="edit"),
    path("<uuid:saved_id>/delete/", endpoints.delete, name="delete"),
    path("<uuid:saved_id>/test/", endpoints.test, name="test"),
    path("<uuid:saved_id>/confirm-key/", endpoints.confirm_key, name="confirm-key"),
    path("tests/<uuid:test_id>/", endpoints.test_result, name="test-result"),
]
_resources: list[URLPattern] = [
    path("", resources.resource_list, name="list"),
    path("new/", resources.create, name="create"),
    path("import/", resources.inventory, name="import"),
    path("refresh/", resources.refresh, name="refresh"),
    path("account/", resources.account, name="account"),
    path("account/remove/", resources.remove_account, name="account-remove"),
    path("<int:resource_id>/", resources.edit, name="edit"),
    path("<int:resource_id>/delete/", resources.delete, name="delete"),
]

_users: list[URLPattern] = [
    path("", accounts.user_list, name="list"),
    path("new/", accounts.create, name="create"),
    path("<int:user_id>/", accounts.detail, name="detail"),
    path("<int:user_id>/role/", accounts.change_role, name="role"),
    path("<int:user_id>/active/", accounts.set_active, name="active"),
    path("<int:user_id>/password/", accounts.reset_password, name="password"),
]
_audit: list[URLPattern] = [
    path("", audit.trail, name="list"),
    path("export.csv", audit.export, name="export"),
]

# An address that has no line in access.py is refused to everybody.
urlpatterns = [
    path("", include((_tasks, "tasks"))),
    path("endpoints/", include((_endpoints, "endpoints"))),
    path("resources/", include((_resources, "resources"))),
    path("users/", include((_users, "users"))),
    path("audit/", include((_audit, "audit"))),
    path("profile/", accounts.profile, name="profile"),
    path("profile/password/", accounts.change_password, name="profile-password"),
    path("profile/sessions/", accounts.end_sessions, name="profile-sessions"),
    path("language/", language.choose, name="language"),
    path("setup/<str:token>/", setup.first_administrator, name="setup"),
    path("login/", session.SignIn.as_view(), name="login"),
    path("logout/", session.SignOut.as_view(), name="logout"),
    path("healthz", health.alive, name="health"),
    path("readyz", health.ready, name="ready"),
]

handler403 = "console.views.errors.forbidden"
handler404 = "console.views.errors.missing"
handler500 = "console.views.errors.broken"
