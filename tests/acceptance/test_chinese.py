"""Every page in Simplified Chinese, in a browser: no English word is left on it but names, SQL, units and the like.

The walk is generated from `every_page.py`, the tasks of both galleries, and everything that can be asked of them. What
forms answer is looked at as well.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from django.apps import apps
from django.conf import settings as console
from django.db.models import CharField, TextField
from django.test import Client
from django.urls import reverse
from django.utils import timezone, translation
from playwright.sync_api import Page, expect

from migrations_app import selectors
from migrations_app.models import MigrationTask, User, WorkerBeat
from migrations_app.sources import KINDS_OF
from tests import factories
from tests.acceptance import gallery, stopped_gallery, surroundings
from tests.acceptance.every_page import ANSWERS, PAGES, show

pytestmark = [pytest.mark.browser, pytest.mark.long, pytest.mark.django_db(transaction=True)]
_PATIENCE = 60_000
_OUTSIDE = ("login", "setup")

# Everything that somebody reads or hears, closed details included. SQL, codes and settings stand in elements of their
# own; the menu names each language in itself.
_TEXTS = """
() => {
  const found = [], said = ["aria-label", "title", "placeholder", "alt", "data-none", "data-some", "data-label"];
  for (const node of document.querySelectorAll("body, body *")) {
    if (node.closest("script, style, noscript, code, pre, svg, button[lang]")) continue;
    for (const name of node.getAttributeNames())
      if (said.includes(name) || name.startsWith("data-text")) found.push(node.getAttribute(name));
    for (const child of node.childNodes) if (child.nodeType === 3) found.push(child.data);
  }
  return [document.title, ...found].filter((text) => /[A-Za-z]{2}/.test(text));
}
"""
# DST-CONFLICT: what people search for, the same everywhere; keys of tasks, times in files.
_CODE = re.compile(r"\b[A-Z]+(?:-[A-Z0-9]+)+\b|\b[0-9a-f]{8}(?:-[0-9a-f]{4,12})+\b|\b\d{4}-\d\d-\d\dT[\d:+]+")

# Products, protocols, units, keywords and names of settings, which are the same in every language.
_SAME_EVERYWHERE = """
    Towpath PostgreSQL WAL TLS SSH VPN CVM IDC IP ID PEM SCRAM scram sha HTTPS HTML JSON CSV YAML SQL UTC LSN Ctrl
    SecretId SecretKey ICU PID MB GB kB TB ms min TLSv1 TLSv md5 md NULL TRUNCATE ALWAYS REPLICA IDENTITY FULL UNLOGGED
    NOTIFY VACUUM DEFAULT vacuum money oid xid character varying wal_level replica logical rds logical_replication
    report_user pg_hba conf pg_dump postgresql auto lc_monetary session_replication_role search_path
    shared_preload_libraries manage py up console migrate sync dispatcher tencentcloudapi com intl require verify full
    app_ t_ app button script alert egnp u202egnp regclass UPDATE DELETE max_slot_wal_keep_size
"""
ALLOWED = frozenset(_SAME_EVERYWHERE.split())
# What a server said is never translated: it is what people search for.
SERVERS_SAID = ("could not extend file: No space left on device", "server closed the connection", "unknown account")


# Names of columns, tables and examples that stand inside of sentences.
_IN_TEXTS = (
    "order_id",
    "loyalty_points",
    "full_name",
    "app.log",
    "app.audit",
    "vpc-1a2b3c",
    "db1.example.com",
    "planets",
    "resources",
    "floppy",
)


def _words(text: str) -> Iterator[str]:
    for word in re.findall(r"[A-Za-z][A-Za-z0-9_']+", _CODE.sub(" ", text)):
        if word not in ALLOWED:
            yield word


def _known() -> list[str]:
    """Everything that somebody named: it stays what it is. The longest first, or a part of a name would be left."""
    names = {"anna", "mover", "shop", "reader", *SERVERS_SAID, *_IN_TEXTS}
    without = {"message", "words", "note", "error_message", "error_hint", "found", "hint", "title", "reason", "detail"}
    for model in apps.get_app_config("migrations_app").get_models():
        fields = [
            field.name
            for field in model._meta.get_fields()
            if isinstance(field, CharField | TextField) and field.name not in without and not field.choices
        ]
        for row in model._default_manager.values_list(*fields) if fields else ():
            names.update(str(value) for value in row if value and len(str(value)) > 2)
    return sorted(names, key=len, reverse=True)


def _english(page: Page, known: list[str]) -> list[str]:
    """Return the texts of the open page that hold an English word, without what somebody named."""
    found = []
    for text in page.evaluate(_TEXTS):
        rest = text
        for name in known:
            rest = re.sub(rf"(?<![A-Za-z0-9_]){re.escape(name)}(?![A-Za-z0-9_])", " ", rest)
        if words := list(_words(rest)):
            found.append(f"{words}: {text.strip()[:200]}")
    return found


def _lines(left: dict[str, list[str]]) -> list[str]:
    return [f"{name}: {text}" for name, texts in left.items() for text in texts]


def _tasks(anna: User) -> dict[str, MigrationTask]:
    return gallery.the_list(anna) | {
        "conflict": stopped_gallery.conflict(),
        "drift": stopped_gallery.drift(),
        "quarantined": stopped_gallery.quarantined(anna),
        "completing": stopped_gallery.completing(),
        "slot lost": stopped_gallery.slot_lost(),
        **{f"WAL {level}": stopped_gallery.wal(level) for level in ("warning", "alarm", "reached")},
    }


def _addresses(made: dict[str, MigrationTask]) -> dict[str, str]:
    """Every page, the page of each task, and each question that can be asked of one, once."""
    found = {name: address(made) for name, address in PAGES.items() if name not in _OUTSIDE}
    asked = set()
    for name, task in made.items():
        found[f"the task of {name}"] = reverse("tasks:detail", args=[task.pk])
        for choice in selectors.task_row(task).choices:
            if choice.confirm and choice.name not in asked:
                asked.add(choice.name)
                found[f"{choice.name} of {name}"] = reverse("tasks:confirm", args=[task.pk, choice.name])
    return found


def _sign_in(page: Page, url: str, user: User) -> None:
    client = Client()
    client.force_login(user)
    name = console.SESSION_COOKIE_NAME
    page.context.add_cookies([{"name": name, "value": client.cookies[name].value, "url": url}])


def test_no_page_shows_an_english_word(page: Page, live_server: Any, settings: Any) -> None:
    settings.LANGUAGE_CODE = "zh-hans"  # of those who have chosen no language, and whose browser names none
    url, left = live_server.url, {}
    page.set_default_timeout(_PATIENCE)
    page.set_extra_http_headers({"Accept-Language": "zh-CN"})
    for name in _OUTSIDE:
        page.goto(url + PAGES[name]({}))
        left[name] = _english(page, [])
    anna = factories.user("anna", role="admin", language="zh-hans")
    surroundings.around(anna)
    made = _tasks(anna)
    known = _known()
    _sign_in(page, url, anna)
    for name, address in _addresses(made).items():
        WorkerBeat.objects.update(at=timezone.now())
        answer = page.goto(url + address)
        assert answer is not None
        assert answer.status == 200, name
        left[name] = _english(page, known)
    for name, (_, get) in ANSWERS.items():
        with translation.override("zh-hans"):  # what is answered before anybody is known
            show(page, f"{url}/-/", get(anna, made))
        left[name] = _english(page, known)
    assert not (found := _lines(left)), "\n".join(found)


# Sent empty: what is wrong with that is said on the page that comes back.
_FORMS = ("tasks:create", "endpoints:create", "resources:create", "resources:import", "users:create", "profile")

_INVENTORY = b"""planets: []
resources:
 - kind: region
   id: demo
 - kind: region
   id: demo
 - kind: floppy
   id: disk
"""


@pytest.mark.parametrize("address", _FORMS)
def test_what_a_form_refuses_is_told_in_chinese(address: str, page: Page, live_server: Any) -> None:
    anna = factories.user("anna", role="admin", language="zh-hans")
    surroundings.around(anna)
    _sign_in(page, live_server.url, anna)
    page.set_default_timeout(_PATIENCE)
    page.goto(live_server.url + reverse(address))
    form = page.locator("main form").filter(has=page.locator(".btn-primary")).first
    if (file := form.locator("[type='file'][name='file']")).count():
        file.set_input_files({"name": "i.yaml", "mimeType": "text/yaml", "buffer": _INVENTORY})
    form.evaluate("form => { form.noValidate = true; }")
    form.locator(".btn-primary").first.click()
    expect(page.locator("[role='alert'], .invalid-feedback").filter(visible=True).first).to_be_visible(
        timeout=_PATIENCE
    )
    assert not (found := _english(page, _known())), "\n".join(found)


@pytest.mark.parametrize("kind", KINDS_OF["source"])
def test_what_each_type_of_source_refuses_is_told_in_chinese(kind: str, page: Page, live_server: Any) -> None:
    anna = factories.user("anna", role="operator", language="zh-hans")
    surroundings.around(anna)
    _sign_in(page, live_server.url, anna)
    page.set_default_timeout(_PATIENCE)
    page.goto(live_server.url + reverse("tasks:create"))
    page.locator(f"input[name='source-kind'][value='{kind}']").check(force=True)
    page.wait_for_load_state("networkidle")
    page.locator(".btn-primary[name='press'][value='next']").click()
    expect(page.locator(".invalid-feedback").filter(visible=True).first).to_be_visible(timeout=_PATIENCE)
    expect(page.locator(f"input[name='source-kind'][value='{kind}']")).to_be_checked()
    assert not (found := _english(page, _known())), "\n".join(found)
