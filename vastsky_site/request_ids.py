"""Every request has an id, which the answer bears and all log lines of the request tell."""

import re
import secrets
from collections.abc import Callable

from django.http import HttpRequest
from django.http.response import HttpResponseBase

from agents import log_lines

View = Callable[[HttpRequest], HttpResponseBase]

HEADER = "X-Request-ID"
ID = re.compile(r"[-._0-9A-Za-z]{1,64}")


def name_requests(get_response: View) -> View:
    """Middleware: go by the id that the caller or his proxy gave, or give one."""

    def middleware(request: HttpRequest) -> HttpResponseBase:
        told = request.headers.get(HEADER, "")
        number = told if ID.fullmatch(told) else secrets.token_hex(6)
        with log_lines.about(request=number):
            response = get_response(request)
        response.headers[HEADER] = number
        return response

    return middleware
