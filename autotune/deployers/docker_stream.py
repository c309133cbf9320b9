"""A container's output, from the engine's stream into a bounded log."""

import socket
import struct
import threading
from contextlib import suppress
from typing import Final

import docker

from autotune.deployers.bounded_log import BoundedLog
from autotune.deployers.docker_errors import FOREIGN

_HEADER: Final = struct.Struct(">BxxxL")
_READ_BYTES: Final = 256 * 1024


class Demultiplexer:
    """Takes the frames off a stream of stdout and stderr.

    A frame is one byte for the stream, three zero bytes, four bytes of length in network order,
    and the payload (Docker Engine API, "Attach to a container", stream format).
    """

    def __init__(self) -> None:
        self._pending = b""
        self._left_bytes = 0

    def feed(self, data: bytes) -> bytes:
        """The payloads in the next stretch of the stream, which may end anywhere."""
        data = self._pending + data
        payloads, at = [], 0
        while at < len(data):
            if self._left_bytes == 0:
                if len(data) - at < _HEADER.size:
                    break
                _, self._left_bytes = _HEADER.unpack_from(data, at)
                at += _HEADER.size
            taken = data[at : at + self._left_bytes]
            payloads.append(taken)
            at += len(taken)
            self._left_bytes -= len(taken)
        self._pending = data[at:]
        return b"".join(payloads)


class OutputPump:
    """Reads a container's output in a thread of its own, so that it never waits for us.

    Args:
        client: A Docker client for this alone; closed at the end.
        container_id: Of a container that may not have been started yet: nothing is missed.
        log: Where it goes; closed at the end.
    """

    def __init__(self, client: docker.DockerClient, container_id: str, log: BoundedLog) -> None:
        self._log = log
        self._client = client
        self._stream = client.api.attach_socket(
            container_id, params={"stdout": 1, "stderr": 1, "stream": 1}
        )
        # The client wraps the socket in a file; what it wraps has no time-out of its own.
        self._socket: socket.socket = getattr(self._stream, "_sock", self._stream)
        self._socket.settimeout(None)
        self._thread = threading.Thread(target=self._run, name="container-log", daemon=True)
        self._thread.start()

    def join(self, timeout_s: float) -> None:
        """Wait for the end of the output."""
        self._thread.join(timeout_s)

    def close(self) -> None:
        """Stop reading."""
        with suppress(OSError):  # it has ended by itself
            self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join(1.0)
        response = getattr(self._stream, "_response", None)  # the client hangs it there
        if response is not None:
            response.close()
        self._stream.close()
        self._client.close()

    def _run(self) -> None:
        frames = Demultiplexer()
        try:
            while data := self._socket.recv(_READ_BYTES):
                self._log.write(frames.feed(data))
        except FOREIGN:
            return  # the connection broke: whoever watches the container finds out why
