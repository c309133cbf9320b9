"""Asking a WSGI application and answering for one."""

import json
from collections.abc import Iterable
from typing import Any, Final
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

_READ_ONLY: Final = (
    "[aria-label='rename study'],[aria-label='delete study'],"
    "button:has(>[data-testid=EditIcon]),button:has(>[data-testid=DeleteIcon]),"
    "button:has([data-testid=AddBoxIcon]),"
    ".MuiCard-root:has(>.MuiCardActionArea-root [data-testid=UploadFileIcon])"
    "{display:none!important}"
)
"""Hides what creates, renames, edits, uploads and deletes (labels of optuna-dashboard 0.21)."""


def host_of(environ: WSGIEnvironment) -> str:
    """The name that was called, without its port."""
    host = str(environ.get("HTTP_HOST", ""))
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]


def call(app: WSGIApplication, environ: WSGIEnvironment) -> tuple[str, bytes]:
    """Status and body of an inner answer."""
    started: list[str] = []

    def start(status: str, _headers: Any, _error: Any = None) -> Any:
        started.append(status)
        return lambda _chunk: None

    body = app(environ, start)
    try:
        return started[0], b"".join(body)
    finally:
        close = getattr(body, "close", None)
        if close is not None:
            close()


def answer(start_response: StartResponse, status: str, values: Any) -> Iterable[bytes]:
    """Values as JSON."""
    body = json.dumps(values).encode()
    headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
    start_response(status, headers)
    return [body]


def answer_read_only(start_response: StartResponse, status: str, page: bytes) -> Iterable[bytes]:
    """optuna-dashboard's page without the buttons that a read-only one would refuse."""
    page = page.replace(b"</head>", f"<style>{_READ_ONLY}</style></head>".encode(), 1)
    headers = [("Content-Type", "text/html; charset=UTF-8"), ("Content-Length", str(len(page)))]
    start_response(status, headers)
    return [page]


def answer_file(start_response: StartResponse, mimetype: str, content: bytes) -> Iterable[bytes]:
    """A file that cannot act on the page it is shown by."""
    start_response("200 OK", [
        ("Content-Type", mimetype),
        ("Content-Length", str(len(content))),
        # Opened by itself it must not run as a page of this origin, whatever a log holds.
        ("Content-Security-Policy", "sandbox; default-src 'none'; style-src 'unsafe-inline'"),
        ("X-Content-Type-Options", "nosniff"),
    ])  # fmt: skip
    return [content]
