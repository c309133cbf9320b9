"""Ports of this host."""

import socket

import pytest

from autotune.deployers.ports import ensure_free, free_port
from autotune.errors import DeployerError, PortInUseError


def test_a_free_port_can_be_listened_on() -> None:
    """What is called free can be bound at once."""
    port = free_port()
    with socket.create_server(("127.0.0.1", port)) as server:
        assert server.getsockname() == ("127.0.0.1", port)


def test_a_taken_port_is_named_with_its_port() -> None:
    """Somebody else's listener is found; the message and the hint name the port."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(PortInUseError, match=f"127.0.0.1:{port}") as raised:
            ensure_free("127.0.0.1", port)
        assert str(port) in raised.value.hint
    ensure_free("127.0.0.1", port)


def test_a_port_that_was_just_used_is_free() -> None:
    """Connections in TIME_WAIT do not count as a listener."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        client = socket.create_connection(("127.0.0.1", port))
        accepted, _ = server.accept()
        accepted.close()  # the server closes first: its side waits
        client.close()
    ensure_free("127.0.0.1", port)


def test_an_address_of_another_machine() -> None:
    """An address that this machine does not have is an error that names `bind_host`."""
    with pytest.raises(DeployerError, match=r"192\.0\.2\.1") as raised:  # TEST-NET-1, RFC 5737
        free_port("192.0.2.1")
    assert not isinstance(raised.value, PortInUseError)
    assert "bind_host" in raised.value.hint
