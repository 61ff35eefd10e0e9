"""People in front of the console: what they do is written down, their browsers are kept strict."""

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse

from inventory import audit

View = Callable[[HttpRequest], HttpResponse]

LOOKING = {"GET", "HEAD", "OPTIONS"}
POLICY = {
    "default-src": "'self'",
    # unfold's pages are written for Alpine, which makes functions of their attributes: that is
    # eval. What matters stays shut: no script from elsewhere, and none within a page.
    "script-src": "'self' 'unsafe-eval'",
    # unfold writes its colours into the page, and bars have their widths in attributes.
    "style-src": "'self' 'unsafe-inline'",
    "img-src": "'self' data:",
    "object-src": "'none'",
    "base-uri": "'none'",
    "form-action": "'self'",
    "frame-ancestors": "'none'",
}


def act_as_person(get_response: View) -> View:
    """Middleware: write down what a signed-in person changes under their name."""

    def middleware(request: HttpRequest) -> HttpResponse:
        if request.method in LOOKING:
            return get_response(request)
        with audit.acting_as(request.user.get_username() or "nobody", audit.Entrance.CONSOLE):
            return get_response(request)

    return middleware


def restrict_browser(get_response: View) -> View:
    """Middleware: tell browsers to run nothing but our own files in our pages."""

    policy = "; ".join(f"{what} {source}" for what, source in POLICY.items())

    def middleware(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        response.headers.setdefault("Content-Security-Policy", policy)
        return response

    return middleware
