"""A container image of one static busybox, made on the spot: nothing is pulled."""

import hashlib
import io
import shutil
import stat
import struct
import subprocess
import tarfile
from pathlib import Path

import docker
import docker.errors
import pytest

PT_INTERP = 3
REPOSITORY = "autotune-test"
QUIT = b"#!/bin/sh\necho 'Content-Type: text/plain'\necho\nkill $(cat /tmp/pid)\n"


def make_image(client: docker.DockerClient) -> str:
    """Import the image unless it is there; gives its name.

    It has busybox with its usual names in /bin, a page in /www, and /www/cgi-bin/quit, which ends
    the process named in /tmp/pid.
    """
    archive = _archive()
    tag = hashlib.sha256(archive).hexdigest()[:12]
    try:
        client.images.get(f"{REPOSITORY}:{tag}")
    except docker.errors.ImageNotFound:
        client.api.import_image_from_data(archive, repository=REPOSITORY, tag=tag)
    return f"{REPOSITORY}:{tag}"


def static_busybox() -> Path | None:
    """The program of Debian's busybox-static."""
    found = shutil.which("busybox")
    if found is None:
        return None
    path = Path(found).resolve()
    return path if _is_static(path.read_bytes()) else None


def _is_static(program: bytes) -> bool:
    """Whether a 64-bit ELF file asks for no interpreter (elf(5): no PT_INTERP header)."""
    (headers_at,) = struct.unpack_from("<Q", program, 32)
    size, count = struct.unpack_from("<HH", program, 54)
    kinds = [struct.unpack_from("<I", program, headers_at + i * size)[0] for i in range(count)]
    return program.startswith(b"\x7fELF") and PT_INTERP not in kinds


def _archive() -> bytes:
    busybox = static_busybox()
    if busybox is None:
        pytest.skip("no static busybox to make an image of: apt-get install busybox-static")
    names = subprocess.run([busybox, "--list"], capture_output=True, check=True).stdout.split()
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for folder in ("tmp", "www", "www/cgi-bin"):
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o1777
            archive.addfile(entry)
        archive.add(busybox, "bin/busybox")
        for name in map(bytes.decode, names):
            if name != "busybox":
                link = tarfile.TarInfo(f"bin/{name}")
                link.type, link.linkname = tarfile.SYMTYPE, "busybox"
                archive.addfile(link)
        for path, content in (("www/index.html", b"well\n"), ("www/cgi-bin/quit", QUIT)):
            file = tarfile.TarInfo(path)
            file.size, file.mode = len(content), stat.S_IRWXU | stat.S_IRWXG
            archive.addfile(file, io.BytesIO(content))
    return buffer.getvalue()
