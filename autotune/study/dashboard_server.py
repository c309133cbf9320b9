"""Serves the dashboard until Ctrl-C: the standard library's WSGI server, a thread per request."""

import logging
import socketserver
import warnings
from collections.abc import Callable
from typing import Final
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer
from wsgiref.types import WSGIApplication

from autotune.errors import PortInUseError, UsageError
from autotune.seams.deployment import LOOPBACK

logger = logging.getLogger(__name__)

_REQUEST_TIMEOUT_S: Final = 60


class _Server(socketserver.ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Handler(WSGIRequestHandler):
    timeout = _REQUEST_TIMEOUT_S

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is given
        """To the log at debug level, not on the terminal of whoever looks at a study."""
        logger.debug(format, *args)


def make_server(app: WSGIApplication, *, host: str, port: int, write: bool = False) -> WSGIServer:
    """A server that is bound and not yet serving; port 0 takes a free one.

    Raises:
        PortInUseError: If somebody else listens there.
        UsageError: If the address cannot be bound, or writing would be open to the network.
    """
    if write and host not in LOOPBACK:
        message = f"--write on {host} would let anybody on the network delete the study"
        raise UsageError(message, hint="Leave --host out, and reach it through `ssh -L`.")
    try:
        server = _Server((host, port), _Handler)
    except OSError as error:
        if error.errno is not None and "in use" in (error.strerror or ""):
            message = f"port {port} on {host} is in use"
            raise PortInUseError(message, hint="Choose another with --port.") from error
        message = f"{host}:{port} cannot be listened on: {error.strerror or error}"
        raise UsageError(message, hint="Choose an address of this machine.") from error
    server.set_app(app)
    return server


def serve(
    app: WSGIApplication,
    *,
    host: str = "127.0.0.1",
    port: int = 8080,
    write: bool = False,
    ready: Callable[[str], None] = lambda _url: None,
) -> None:
    """Serve until Ctrl-C.

    Args:
        app: What `dashboard_app` gives.
        host: Address to listen on.
        port: Port to listen on; 0 takes a free one.
        write: Whether the app lets the page write; refused on an open address.
        ready: Told the URL once it can be opened.

    Raises:
        PortInUseError: If somebody else listens there.
        UsageError: If the address cannot be bound, or writing would be open to the network.
    """
    with make_server(app, host=host, port=port, write=write) as server:
        ready(f"http://{host}:{server.server_port}/")
        # Optuna warns at every look that few trials make rough importances.
        warnings.filterwarnings("ignore", module=r"optuna\.")
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            return
