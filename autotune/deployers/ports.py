"""Ports of this host."""

import errno
import socket

from autotune.errors import DeployerError, PortInUseError


def free_port(host: str = "127.0.0.1") -> int:
    """A port that nobody listens on at this moment.

    The kernel hands out ephemeral ports in a changing order, so the next caller gets another one.

    Raises:
        DeployerError: If `host` is no address of this machine.
    """
    with _bound(host, 0) as listener:
        port: int = listener.getsockname()[1]
        return port


def ensure_free(host: str, port: int) -> None:
    """Find out whether a server could listen there.

    Raises:
        PortInUseError: If somebody else does.
        DeployerError: If `host` is no address of this machine or the port is not allowed.
    """
    _bound(host, port).close()


def _bound(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    # A port whose last connections are in TIME_WAIT is free: servers set this option too.
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(1)
    except OSError as error:
        listener.close()
        raise _translated(error, host, port) from error
    return listener


def _translated(error: OSError, host: str, port: int) -> DeployerError:
    if error.errno == errno.EADDRINUSE:
        return PortInUseError(
            f"somebody else listens on {host}:{port}",
            hint=f"`ss -ltnp 'sport = :{port}'` names them. Stop that, or set another `port`.",
        )
    if error.errno == errno.EACCES:
        return DeployerError(
            f"this user may not listen on port {port}", hint="Take a port from 1024 upwards."
        )
    return DeployerError(
        f"cannot listen on {host}:{port}: {error.strerror or error}",
        hint="Set `bind_host` to an address of this machine, e.g. 127.0.0.1.",
    )
