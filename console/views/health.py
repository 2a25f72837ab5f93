"""For load balancers and monitoring: is the process up, can it work?"""

from __future__ import annotations

from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.http import require_safe

from migrations_app import own_database, selectors


@login_not_required
@require_safe
def alive(request: HttpRequest) -> HttpResponse:
    """Answer "ok" as long as the process answers at all."""
    return HttpResponse("ok\n", content_type="text/plain")


@login_not_required
@require_safe
def ready(request: HttpRequest) -> HttpResponse:
    """Answer 200 when database, keys, workers and dispatcher can serve tasks, else 503 with the reason in words."""
    try:
        health = selectors.readiness()
    except own_database.GONE:
        problem = "The console's own database does not answer."
        return JsonResponse({"ready": False, "problem": problem}, status=503)
    body = {
        "ready": not health.problem,
        "workers": health.workers,
        "queue": health.queue,
        "oldest_lease_seconds": health.oldest_lease,
        "problem": health.problem,
    }
    return JsonResponse(body, status=503 if health.problem else 200)
