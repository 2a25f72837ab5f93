"""Settings of the console and its workers. Everything that differs between installations comes from the environment."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

import dj_database_url
from cryptography.fernet import Fernet
from csp.constants import NONE, SELF
from django.core.management.utils import get_random_secret_key

from . import env

BASE_DIR = Path(__file__).resolve().parent.parent
DATA_DIR = Path(env.text("TOWPATH_DATA_DIR", str(BASE_DIR / "var"))).resolve()
DATA_DIR.mkdir(parents=True, exist_ok=True, mode=0o700)

DEBUG = env.flag("TOWPATH_DEBUG", False)
SECRET_KEY = env.text("TOWPATH_SECRET_KEY") or env.private_file(DATA_DIR / "secret_key", get_random_secret_key)
SECRET_KEY_FALLBACKS = env.words("TOWPATH_SECRET_KEY_FALLBACKS")
# Newest first: the first one encrypts, all of them can decrypt. Independent of SECRET_KEY.
ENCRYPTION_KEYS = env.words("TOWPATH_ENCRYPTION_KEYS") or [
    env.private_file(DATA_DIR / "encryption_key", lambda: Fernet.generate_key().decode())
]
ALLOWED_HOSTS = env.words("TOWPATH_ALLOWED_HOSTS", "localhost,127.0.0.1,[::1]")
CSRF_TRUSTED_ORIGINS = env.words("TOWPATH_TRUSTED_ORIGINS")

INSTALLED_APPS = [
    "migrations_app.apps.MigrationsConfig",
    "console.apps.ConsoleConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django_htmx",
    "django_q",
    "crispy_forms",
    "crispy_bootstrap5",
    "js_lib_bootstrap5",
]  # without the apps of django-csp and heroicons: nothing of theirs needs them, and they cost each start 30 and 5 ms
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "console.middleware.SessionAgeMiddleware",  # before the next one: it looks whether the session still holds
    "django.contrib.auth.middleware.LoginRequiredMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "console.middleware.PrivatePagesMiddleware",
    "console.middleware.AuditMiddleware",
    "console.middleware.AccessMiddleware",
]
ROOT_URLCONF = "console.urls"
WSGI_APPLICATION = "console.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "console.context.chrome",
            ],
            "builtins": ["console.templatetags.icons"],
        },
    }
]

_DATABASE_URL = env.text("DATABASE_URL")
if _DATABASE_URL:
    _database = dict(dj_database_url.parse(_DATABASE_URL, conn_max_age=60, conn_health_checks=True))
else:
    _database = {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": str(DATA_DIR / "console.sqlite3"),
        "CONN_MAX_AGE": 60,
        "OPTIONS": {
            # IMMEDIATE takes the write lock at BEGIN: two claims can never both read "free" first.
            "transaction_mode": "IMMEDIATE",
            "timeout": 20,
            "init_command": "PRAGMA journal_mode=WAL;PRAGMA synchronous=NORMAL;PRAGMA foreign_keys=ON;",
        },
        "TEST": {"NAME": str(DATA_DIR / f"test-{os.getpid()}.sqlite3")},
    }
DATABASES = {"default": _database}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

CACHES = {
    "default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"},
    # Parts of pages, each under the name of all that it shows: never out of date, kept as long as there is room.
    "template_fragments": {
        "BACKEND": "django.core.cache.backends.locmem.LocMemCache",
        "LOCATION": "fragments",
        "TIMEOUT": None,
    },
    # django-q2 writes its statistics here; in-process memory would be invisible to other processes.
    "queue": {
        "BACKEND": "django.core.cache.backends.filebased.FileBasedCache",
        "LOCATION": str(DATA_DIR / "queue-cache"),
    },
}

AUTH_USER_MODEL = "migrations_app.User"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 12}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "tasks:list"
LOGOUT_REDIRECT_URL = "login"
SESSION_COOKIE_AGE = 12 * 3600  # seconds; counted from signing in, however busy the session is
SESSION_IDLE_SECONDS = 30 * 60
PASSWORD_AGAIN_SECONDS = 30 * 60  # risky acts ask for it again after that
SESSION_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_HTTPONLY = True
CSRF_COOKIE_HTTPONLY = True
_HTTPS = env.flag("TOWPATH_HTTPS", False)
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = LANGUAGE_COOKIE_SECURE = _HTTPS
if _HTTPS:  # browsers take a cookie of such a name only from this very host, over TLS
    SESSION_COOKIE_NAME, CSRF_COOKIE_NAME = "__Host-session", "__Host-csrf"
SECURE_SSL_REDIRECT = _HTTPS
SECURE_HSTS_SECONDS = 31_536_000 if _HTTPS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = _HTTPS
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
BEHIND_PROXY = env.flag("TOWPATH_BEHIND_PROXY", False)
if BEHIND_PROXY:
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")

# No inline code anywhere: htmx is told not to eval and not to add styles (templates/base.html).
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [NONE],
        "script-src": [SELF],
        "style-src": [SELF],
        "font-src": [SELF],
        "connect-src": [SELF],
        "img-src": [SELF, "data:"],
        "form-action": [SELF],
        "base-uri": [NONE],
        "frame-ancestors": [NONE],
    }
}

LANGUAGE_CODE = "en"
LANGUAGES = [("en", "English"), ("zh-hans", "简体中文")]
LANGUAGE_COOKIE_AGE = 365 * 24 * 3600
LANGUAGE_COOKIE_SAMESITE = "Lax"
LANGUAGE_COOKIE_HTTPONLY = True
LOCALE_PATHS = [BASE_DIR / "locale"]
USE_I18N = True
USE_TZ = True
TIME_ZONE = env.text("TOWPATH_TIME_ZONE", env.text("TZ", "UTC")) or "UTC"

STATIC_URL = "static/"
STATICFILES_DIRS = [BASE_DIR / "static"]
STATIC_ROOT = DATA_DIR / "staticfiles"
_MANIFEST = env.flag("TOWPATH_STATIC_MANIFEST", False)  # `manage.py up` collects static files and switches this on
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {
        "BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"
        if _MANIFEST
        else "django.contrib.staticfiles.storage.StaticFilesStorage"
    },
}
WHITENOISE_USE_FINDERS = not _MANIFEST

CRISPY_ALLOWED_TEMPLATE_PACKS = "bootstrap5"
CRISPY_TEMPLATE_PACK = "bootstrap5"

# How many full migrations run at once; the others wait in the order in which they were queued.
MIGRATION_SLOTS = env.integer("TOWPATH_MIGRATION_SLOTS", 1, least=1)
# Processes of the web server: one alone uses one core, however many threads it has.
WEB_WORKERS = env.integer("TOWPATH_WEB_WORKERS", min(4, len(os.sched_getaffinity(0))), least=1)
SYNC_WORKERS = env.integer("TOWPATH_SYNC_WORKERS", 4, least=1)
COPY_JOBS = env.integer("TOWPATH_COPY_JOBS", 2, least=1)
INDEX_JOBS = env.integer("TOWPATH_INDEX_JOBS", 2, least=1)
CONNECT_TIMEOUT_SECONDS = env.integer("TOWPATH_CONNECT_TIMEOUT", 5, least=1)
LEASE_SECONDS = env.integer("TOWPATH_LEASE_SECONDS", 15, least=5)
RETRY_WINDOW_MINUTES = env.integer("TOWPATH_RETRY_WINDOW", 120, least=1)
DRAIN_MINUTES = env.number("TOWPATH_DRAIN_MINUTES", 15.0, above=0.0)
SNAPSHOT_HOURS = env.number("TOWPATH_SNAPSHOT_HOURS", 2.0, above=0.0)
CHECK_VALID_HOURS = env.integer("TOWPATH_CHECK_VALID_HOURS", 4, least=1)
FAILOVER_SLOTS = env.flag("TOWPATH_FAILOVER_SLOTS", False)
# How much of a worker's disk the spool of one database may take, and how much of it stays free for everybody else.
SPOOL_MB = env.integer("TOWPATH_SPOOL_MB", 20_000, least=10)
SPOOL_FREE_MB = env.integer("TOWPATH_SPOOL_FREE_MB", 2_000, least=0)
CHECK_FRESH_MINUTES = env.integer("TOWPATH_CHECK_FRESH_MINUTES", 10, least=0)
WORK_DIR = DATA_DIR / "work"

# What workers may dial (docs/operations.md). A non-empty first list is all that they may; the second one always wins.
ALLOW_ADDRESSES = env.networks("TOWPATH_ALLOW_ADDRESSES")
DENY_ADDRESSES = env.networks("TOWPATH_DENY_ADDRESSES")
# Where the web server listens; `manage.py up` tells its children. Loopback only: then loopback may be dialled as well.
LISTEN_ADDRESS = env.text("TOWPATH_LISTEN")

# A message only wakes a worker up; our rows hold the truth (docs/decisions). Hence no retries by the queue.
Q_CLUSTER = {
    "name": "console",
    "orm": "default",
    "workers": 2,
    "timeout": None,
    "retry": 90,
    "ack_failures": True,
    "max_attempts": 1,
    "queue_limit": 1,
    "bulk": 1,
    "poll": 0.5,
    "recycle": 500,
    "save_limit": 200,
    "cache": "queue",
    "scheduler": False,
    "ALT_CLUSTERS": {
        "migrate": {"workers": MIGRATION_SLOTS, "queue_limit": 1},
        "sync": {"workers": SYNC_WORKERS, "queue_limit": 1},
    },
}
# timeout=None is meant: a copy takes as long as it takes, under a lease of our own.
warnings.filterwarnings("ignore", message="Retry and timeout are misconfigured")

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "filters": {"marks": {"()": "migrations_app.log_marks.TaskMarks"}},
    "formatters": {
        "line": {
            "class": "migrations_app.log_marks.OneLine",
            "format": "%(asctime)s %(levelname)s %(name)s %(marks)s%(message)s",
        }
    },
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line", "filters": ["marks"]}},
    "root": {"handlers": ["console"], "level": env.text("TOWPATH_LOG_LEVEL", "INFO")},
    "loggers": {"django_q": {"level": "WARNING"}, "django-q": {"level": "WARNING"}},
}
