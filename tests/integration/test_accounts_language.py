"""English and Simplified Chinese: by the browser, by the menu, and a catalogue without gaps."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polib
import pytest
from django.conf import settings
from django.test import Client
from django.utils import timezone
from django.utils.translation import gettext, override

from console import check_words, engine_words
from migrations_app import services
from migrations_app.engine.checks import fixes
from migrations_app.engine.checks.registry import CheckResult, CheckStatus, Group, all_items
from migrations_app.engine.connect import server_error
from migrations_app.engine.plan import Side
from migrations_app.engine.ports import Kind
from migrations_app.engine.refusing import all_refusals
from migrations_app.engine.states import Status
from migrations_app.engine.wording import as_data, count, listing, say
from migrations_app.models import Event, User
from migrations_app.selectors import labels
from tests import factories

CATALOGUES = sorted(Path(settings.LOCALE_PATHS[0]).glob("*/LC_MESSAGES/*.po"))
PLACEHOLDER = re.compile(r"%\(\w+\)[sd]|%[sd]|<[^>]+>|\{\w+\}")
APP = Path(services.__file__).parents[1]
COMPILE = "run `make messages`, translate what is new, run it again"


def _catalogue(path: Path) -> Any:
    return polib.pofile(str(path))


def test_there_is_a_catalogue_for_every_language_but_english() -> None:
    assert [path.parent.parent.name for path in CATALOGUES] == ["zh_Hans"]


@pytest.mark.parametrize("path", CATALOGUES, ids=str)
def test_every_text_is_translated(path: Path) -> None:
    catalogue = _catalogue(path)
    missing = [entry.msgid for entry in catalogue if not entry.obsolete and not entry.translated()]
    assert missing == [], f"{len(missing)} texts are not translated; {COMPILE}"


@pytest.mark.parametrize("path", CATALOGUES, ids=str)
def test_the_compiled_catalogue_is_that_of_the_readable_one(path: Path) -> None:
    wanted, found = (
        {(entry.msgctxt, entry.msgid): (entry.msgstr, entry.msgstr_plural) for entry in entries}
        for entries in (_catalogue(path).translated_entries(), polib.mofile(str(path.with_suffix(".mo"))))
    )
    assert found == wanted, COMPILE


@pytest.mark.parametrize("path", CATALOGUES, ids=str)
def test_placeholders_and_markup_survive_translation(path: Path) -> None:
    for entry in _catalogue(path).translated_entries():
        allowed = {*PLACEHOLDER.findall(entry.msgid), *PLACEHOLDER.findall(entry.msgid_plural)}
        for text in entry.msgstr_plural.values() if entry.msgid_plural else [entry.msgstr]:
            found = set(PLACEHOLDER.findall(text))
            assert found == allowed if not entry.msgid_plural else found <= allowed, entry.msgid


@pytest.fixture
def olga(db: None) -> User:
    return factories.user("olga")


def page(client: Client, path: str = "/login/", **headers: str) -> str:
    return client.get(path, **headers).content.decode()


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("asked", "heading"),
    [("zh-CN,zh;q=0.9", "登录"), ("de-DE", "Sign in"), ("zh-Hans", "登录"), ("en;q=0.9, zh;q=0.1", "Sign in")],
)
def test_the_browser_chooses_first(asked: str, heading: str) -> None:
    assert f'<h1 class="mb-1">{heading}</h1>' in page(Client(), HTTP_ACCEPT_LANGUAGE=asked)


@pytest.mark.django_db
def test_the_menu_chooses_for_somebody_who_is_not_signed_in() -> None:
    client = Client()
    answer = client.post("/language/", {"language": "zh-hans", "next": "/login/?next=/users/"})
    assert answer["Location"] == "/login/?next=/users/"
    assert '<html lang="zh-Hans">' in page(client)


def test_the_choice_is_kept_with_the_user_and_wins_over_the_browser(olga: User) -> None:
    client = Client()
    client.force_login(olga)
    client.post("/language/", {"language": "zh-hans"})
    elsewhere = Client()
    elsewhere.force_login(olga)
    assert "迁移任务" in page(elsewhere, "/profile/", HTTP_ACCEPT_LANGUAGE="en")


def test_a_page_that_does_not_exist_speaks_the_language_of_the_user(olga: User) -> None:
    User.objects.update(language="zh-hans")
    client = Client()
    client.force_login(olga)
    assert "此处没有内容" in page(client, "/nothing-here/")


def test_signing_in_brings_the_language_of_the_user(olga: User) -> None:
    User.objects.update(language="zh-hans")
    client = Client()
    client.post("/login/", {"username": "olga", "password": factories.PASSWORD})
    client.post("/logout/")
    assert "登录" in page(client)


@pytest.mark.django_db
def test_errors_of_forms_are_translated_too() -> None:
    client = Client(headers={"accept-language": "zh-hans"})
    answer = client.post("/login/", {"username": "nobody", "password": "wrong"})
    assert "账号与密码不匹配" in answer.content.decode()


@pytest.mark.django_db
@pytest.mark.parametrize("language", ["", "de", "../etc", "zh-hans\r\nSet-Cookie: x=1"])
def test_an_unknown_language_is_refused(language: str) -> None:
    answer = Client().post("/language/", {"language": language})
    assert answer.status_code == 400
    assert settings.LANGUAGE_COOKIE_NAME not in answer.cookies


@pytest.mark.django_db
@pytest.mark.parametrize(
    "wanted", ["https://evil.example/", "//evil.example/", "javascript:alert(1)", "/\\evil.example"]
)
def test_a_choice_never_leads_to_another_host(wanted: str) -> None:
    answer = Client().post("/language/", {"language": "en", "next": wanted})
    assert answer["Location"] == "/"


def test_every_group_and_item_of_the_check_has_its_words_collected_for_translation() -> None:
    infos = all_items()
    assert set(check_words.GROUPS) == {group.value for group in Group}
    assert set(check_words.TITLES) == {info.title for info in infos}
    assert set(check_words.LOOKS_AT) == {info.looks_at for info in infos}
    assert set(re.findall('label="([^"]+)"', inspect.getsource(fixes))) <= set(engine_words.FIXES)
    assert {kind.replace("_", " ").capitalize() for kind in Kind} <= set(engine_words.KINDS)


def _sentences() -> Iterator[tuple[str, str]]:
    """The literals of `say`, `template` and `count` in the code, each with its place."""
    places = {"say": (0,), "template": (0,), "count": (1, 2)}
    for path in sorted(APP.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
                continue
            for at in places.get(node.func.id, ()):
                given = node.args[at] if len(node.args) > at else None
                if isinstance(given, ast.JoinedStr) or (node.func.id == "count" and given is None):
                    yield f"{path.relative_to(APP)}:{node.lineno}", "<not a literal>"
                elif isinstance(given, ast.Constant) and isinstance(given.value, str):
                    yield f"{path.relative_to(APP)}:{node.lineno}", given.value


@pytest.mark.long
@pytest.mark.parametrize("path", CATALOGUES, ids=str)
def test_every_sentence_of_the_engine_and_of_the_services_is_in_the_catalogue(path: Path) -> None:
    known = {text for entry in _catalogue(path) if not entry.obsolete for text in (entry.msgid, entry.msgid_plural)}
    sentences = list(_sentences())
    assert len(sentences) > 700
    assert [(place, text) for place, text in sentences if text and text not in known] == [], COMPILE


def test_every_title_of_a_check_item_can_be_a_template() -> None:
    """Events say titles inside their sentences, so none may hold a place of its own."""
    assert [title for title in check_words.TITLES if "{" in title] == []


def test_a_finding_is_told_in_the_language_of_the_reader(olga: User) -> None:
    task = factories.task(status="check_failed")
    names = listing([f"public.t{number}" for number in range(25)])
    found = say("{number} without a key: {names}.", number=count(25, "{number} table", "{number} tables"), names=names)
    hint = say("Grant CREATE on the database.")
    result = CheckResult(
        code="table-keys",
        title="Tables have keys",
        group=Group.SYNC,
        status=CheckStatus.FAILED,
        found=found,
        hint=hint,
        database="shop",
    )
    services.work.store_results(task, [(0, result)])
    client = Client()
    client.force_login(olga)
    assert "25 tables without a key: public.t0" in page(client, f"/tasks/{task.pk}/check/")
    User.objects.update(language="zh-hans")
    chinese = page(client, f"/tasks/{task.pk}/check/")
    assert "25 个表没有键：public.t0、public.t1" in chinese
    assert "等另外 5 个" in chinese
    assert "请授予该数据库的 CREATE 权限。" in chinese
    tip = re.sub(r"<[^>]+>|\s+", "", chinese.partition('role="tooltip"')[2].partition("</div>")[0])
    assert "发现shop:25个表没有键：public.t0" in tip
    assert "处理办法请授予该数据库的CREATE权限。" in tip
    assert "25 个表没有键" in page(client, f"/tasks/{task.pk}/check/report.html")
    assert "25 tables without a key" in page(client, f"/tasks/{task.pk}/check/report.json")


def test_words_of_a_server_stay_word_for_word(olga: User) -> None:
    task = factories.task(status="failed")
    words = "relation {side} does not exist %(x)s"
    error = server_error("42P01", words, Side.TARGET, say("restoring {label}", label="TABLE a.b"))
    Event.objects.create(task=task, message=error.message, words=as_data(message=error.message), level="error")
    client = Client()
    client.force_login(olga)
    User.objects.update(language="zh-hans")
    assert f"恢复 TABLE a.b时目标库报告错误：{words}（42P01）" in page(client, f"/tasks/{task.pk}/")


def test_an_event_that_another_version_wrote_is_told_in_english(olga: User) -> None:
    task = factories.task(status="running")
    client = Client()
    client.force_login(olga)
    User.objects.update(language="zh-hans")
    for number, words in enumerate(({}, {"message": {"say": "{a} {b}", "with": {}}}, {"message": {"odd": 1}}, [])):
        Event.objects.create(task=task, message=f"Plain {number}.", words=words)
        assert f"Plain {number}." in page(client, f"/tasks/{task.pk}/")


def test_parts_of_a_sentence_are_parted_as_the_language_does(olga: User) -> None:
    task = factories.task(status="check_failed", checked_at=timezone.now())
    factories.task()
    factories.comparison(task)
    client = Client()
    client.force_login(olga)
    assert "1 failed, 1 draft" in page(client, "/")
    User.objects.update(language="zh-hans")
    assert "1 个失败，1 个草稿" in page(client, "/")
    assert "，设置更改后已失效" in page(client, f"/tasks/{task.pk}/check/")
    assert "25 个表，" in page(client, f"/tasks/{task.pk}/")


@pytest.mark.django_db
def test_what_people_did_is_told_in_the_language_of_the_reader() -> None:
    anna = factories.user("anna", role="admin")
    client = Client()
    client.force_login(anna)
    task = factories.task(status="running")
    client.post(f"/tasks/{task.pk}/pause/")
    assert "Paused. The source keeps the changes" in page(client, "/audit/")
    User.objects.update(language="zh-hans")
    assert "已暂停。期间源库为我们保留变更" in page(client, "/audit/")
    assert "已暂停。期间源库为我们保留变更" in page(client, f"/tasks/{task.pk}/")


def test_every_refusal_has_its_words_collected_for_translation() -> None:
    assert set(engine_words.REFUSALS) == all_refusals()
    assert {str(words) for words in engine_words.STANDS.values()} == {each.replace("_", " ") for each in Status}


def test_a_refusal_speaks_the_language_of_the_reader(olga: User) -> None:
    task = factories.task(status="running")
    with override("zh-hans"), pytest.raises(services.Refused, match="无法执行“启动”：任务的状态为“进行中”"):
        services.start_task(task_id=task.pk, actor=olga)


def test_statuses_steps_and_buttons_have_chinese_words() -> None:
    english = [*labels.STEPS.values(), *labels.ACTIONS.values(), *labels.CONFIRM.values()]
    english += [label for label, _tone in [*labels.STATUSES.values(), *labels.TABLES.values()]]
    with override("zh-hans"):
        words = [str(each) for each in english] + [gettext(title) for title in check_words.TITLES]
    assert [word for word in words if not re.search("[\u4e00-\u9fff]", word)] == []
