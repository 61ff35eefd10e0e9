"""What a monitoring system asks: /metrics, for whoever may read the API (docs/metrics.md)."""

import logging
import platform
from collections.abc import Callable, Iterator
from http import HTTPStatus

from django.conf import settings
from django.db import DatabaseError, InterfaceError, connection
from django.http import HttpRequest, HttpResponse

from agents import exposition, own_process
from agents.exposition import MetricFamily, MetricSample, gauge
from inventory import own_certificates
from vastsky_site.access import authorization
from vastsky_site.access.authentication import Denied, identify
from vastsky_site.api import call_counts, endpoint
from volumes.reports import metrics

logger = logging.getLogger(__name__)

PATH = "/metrics"
READING = ("GET", "HEAD")
View = Callable[[HttpRequest], HttpResponse]

BUILD = gauge(
    "vastsky_build_info", "1; the labels tell what runs here.", "version", "python", "database"
)
CERTIFICATE = gauge(
    "vastsky_certificate_end_timestamp_seconds",
    "When a certificate of the manager ends, in Unix time.",
    "certificate",
)


def metrics_first(get_response: View) -> View:
    """Middleware: answer /metrics before anything of the console can answer it with a page."""

    def middleware(request: HttpRequest) -> HttpResponse:
        return _answer(request) if request.path_info == PATH else get_response(request)

    return middleware


def families() -> list[MetricFamily]:
    """List what may be told here."""
    return [
        BUILD,
        CERTIFICATE,
        *metrics.families(),
        *exposition.families_of(call_counts, own_process),
    ]


def _answer(request: HttpRequest) -> HttpResponse:
    if request.method not in READING:
        refusal = _said("metrics are read with GET", HTTPStatus.METHOD_NOT_ALLOWED)
        refusal["Allow"] = ", ".join(READING)
        return refusal
    try:
        _require_reader(request)
        with endpoint.reading:
            samples = list(_tell())
    except Denied as denied:
        refusal = _said(str(denied), denied.status)
        if denied.status == HTTPStatus.UNAUTHORIZED:
            refusal["WWW-Authenticate"] = 'Basic realm="vastsky"'
        return refusal
    except (DatabaseError, InterfaceError):
        logger.exception("the database does not say how the cluster is")
        return _said("the database does not answer", HTTPStatus.SERVICE_UNAVAILABLE)
    openmetrics = exposition.is_openmetrics(request.headers.get("Accept", ""))
    kind = exposition.OPENMETRICS if openmetrics else exposition.PLAIN
    return _uncached(HttpResponse(exposition.write(samples, openmetrics=openmetrics), kind))


def _require_reader(request: HttpRequest) -> None:
    """Refuse who may not read; an agent's token is for what its node reports."""
    caller = identify(request, settings.VASTSKY_METRICS_NETWORKS)
    if caller.role not in authorization.READ:
        text = f"{caller.name} has the role {caller.role.value}, which reads no metrics"
        raise Denied(HTTPStatus.FORBIDDEN, text)


def _tell() -> Iterator[MetricSample]:
    yield BUILD.of(1, settings.VASTSKY_RELEASE, platform.python_version(), connection.vendor)
    yield from metrics.tell()
    yield from (CERTIFICATE.of(one.end.timestamp(), one.name) for one in own_certificates.read())
    yield from call_counts.counts.tell()
    yield from own_process.tell()


def _said(words: str, status: int) -> HttpResponse:
    return _uncached(HttpResponse(f"{words}\n", "text/plain; charset=utf-8", status))


def _uncached(answer: HttpResponse) -> HttpResponse:
    answer["Cache-Control"] = "no-store"
    return answer
