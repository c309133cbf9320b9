"""A server in the shape of vLLM's that does one wrong thing, on time. Standard library only.

    python scripted_server.py PORT BEHAVIOUR

Every prompt is answered with so many words as were asked for; the wrong thing comes in the middle
of the `NTH` answer to a chat, when the warm-up is over. It runs as a process and in a container.
"""

import base64
import http.server
import json
import mmap
import os
import signal
import sys
import threading
import time  # noqa: TID251 - a program of its own
import urllib.parse
import zlib
from pathlib import Path

SHM = Path("/dev/shm")  # noqa: S108 - shared memory is meant
NTH = 2
FLOOD_BYTES = 200 * 1024**2
SHM_BYTES = 256 * 1024**2
CHUNK = 4 * 1024**2
WORD_S = 0.02  # a slow engine's gap between tokens: one client must be able to read several streams
SLOW_S = 0.1
HELD_BYTES = 64 * 1024**2
DROPPED_BYTES = 48 * 1024**2
OURS = os.environ.get("AUTOTUNE_STUDY", "contained")  # whose its files are; a container has no mark

does = sys.argv[2]
TAUNT = json.loads(Path(__file__).with_name("taunt.json").read_text())
SAID = TAUNT if does == "taunts" else "word "
chats = 0
lock = threading.Lock()


def die(code: int) -> None:
    """At once, as after a crash in native code."""
    sys.stdout.flush()
    os._exit(code)


def kill_self() -> None:
    """By SIGKILL; from within, a container's first process is deaf to it (pid_namespaces(7))."""
    os.kill(os.getpid(), signal.SIGKILL)
    die(128 + signal.SIGKILL)


def freeze() -> None:
    """Stopped as by SIGSTOP, to which a container's first process is deaf: see `serve_below`."""
    os.kill(os.getpid(), signal.SIGSTOP)


def flood() -> None:
    """Far more output than anybody wants on a disk."""
    line = b"x" * 1023 + b"\n"
    for _ in range(FLOOD_BYTES // len(line)):
        sys.stdout.buffer.write(line)
    sys.stdout.flush()


def fill_shm() -> None:
    """Take shared memory until it is refused, as a KV offload does; the host's is not filled."""
    try:
        with (SHM / f"vllm_offload_{OURS}_{os.getpid()}.mmap").open("wb", buffering=0) as file:
            file.writelines(b"\1" * CHUNK for _ in range(SHM_BYTES // CHUNK))
    except OSError as error:
        print(f"OSError: {error} (shared_offload_region)", flush=True)
        die(1)


def drop_shm() -> None:
    """Write into shared memory and let go of it: nobody has the file open any more."""
    (SHM / f"psm_{OURS}_{os.getpid()}").write_bytes(b"\1" * DROPPED_BYTES)


def take_memory() -> None:
    """Until somebody ends it."""
    held = []
    while True:
        held.append(b"\1" * CHUNK)
        time.sleep(0.005)


def leak() -> None:
    """A daemon that left the session, is deaf, and holds memory and a file in shared memory."""
    if os.fork():
        return
    os.setsid()
    if os.fork():
        os._exit(0)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    file = os.open(SHM / f"autotune_leak_{OURS}_{os.getpid()}", os.O_RDWR | os.O_CREAT)
    os.ftruncate(file, CHUNK)
    shared = mmap.mmap(file, CHUNK)
    held = b"\1" * HELD_BYTES
    signal.pause()
    del held, shared


FAULTS = {
    "dies": lambda: die(1),
    "exits-0": lambda: die(0),
    "killed": kill_self,
    "hangs": lambda: time.sleep(3600),
    "freezes": freeze,
    "floods": flood,
    "fills-shm": fill_shm,
    "drops-shm": drop_shm,
    "hog": take_memory,
    "restarts": lambda: die(1),
    "taunts-and-dies": lambda: (print(f"ValueError: {TAUNT}", flush=True), die(1)),
    "leaks": leak,
}


class Handler(http.server.BaseHTTPRequestHandler):
    """The paths that a trial asks for."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        """Health, models, metrics."""
        if self.path == "/health":
            self._plain(503 if does == "never-healthy" else 200, "")
        elif self.path == "/v1/models":
            name = TAUNT if does == "taunts" else "scripted"
            self._plain(200, json.dumps({"data": [{"id": name, "max_model_len": 4096}]}))
        else:
            self._plain(404, "{}")

    def do_POST(self) -> None:
        """The ids of a text's words; an answer in one piece or as a stream."""
        body = json.loads(self.rfile.read(int(self.headers["content-length"])) or b"{}")
        prompt = body.get("prompt") or body.get("messages") or []
        words = int(body.get("max_tokens") or 16)
        usage = {"prompt_tokens": len(prompt), "completion_tokens": words}
        if does == "repeats":  # what it was sent, as a careless program does when it refuses
            self._plain(401, json.dumps({"error": {"message": dict(self.headers), "code": 401}}))
        elif does == "taunts-in-refusals":
            self._plain(400, json.dumps({"error": {"message": TAUNT, "code": 400}}))
        elif self.path == "/tokenize":
            ids = [zlib.crc32(word.encode()) for word in prompt.split()]
            self._plain(200, json.dumps({"count": len(ids), "tokens": ids}))
        elif body.get("stream"):
            self._stream(words, usage, chat="messages" in body)
        else:
            choice = {"index": 0, "text": SAID * words, "finish_reason": "length"}
            self._plain(200, json.dumps({"choices": [choice], "usage": usage}))

    def _stream(self, words: int, usage: dict[str, int], *, chat: bool) -> None:
        global chats  # noqa: PLW0603 - the one thing that this program counts
        with lock:
            chats += chat
            is_due = chat and chats == NTH
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("connection", "close")
        self.end_headers()
        for number in range(words):
            if number == words // 2 and is_due and does in FAULTS:
                FAULTS[does]()
            time.sleep(SLOW_S if does == "slow" and chat else WORD_S)
            if does == "taunts-in-events":
                self._event({"error": {"message": TAUNT, "code": 500}})
            part = {"delta": {"content": SAID}} if chat else {"text": SAID}
            self._event({"choices": [{"index": 0, "finish_reason": None, **part}]})
        end = {"delta": {}} if chat else {"text": ""}
        self._event({"choices": [{"index": 0, "finish_reason": "length", **end}]})
        self._event({"choices": [], "usage": usage})
        self.wfile.write(b"data: [DONE]\n\n")
        self.close_connection = True

    def _event(self, event: dict[str, object]) -> None:
        self.wfile.write(b"data: " + json.dumps(event, separators=(",", ":")).encode() + b"\n\n")

    def _plain(self, status: int, text: str) -> None:
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())


class Server(http.server.ThreadingHTTPServer):
    """Many at once, on every address: a container's port is published by the engine."""

    daemon_threads = True
    request_queue_size = 256
    allow_reuse_address = True


def serve() -> None:
    """Serve until ended."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN if does == "deaf" else lambda *_: die(0))
    address = ("0.0.0.0", int(sys.argv[1]))  # noqa: S104 - a container's own; a trial's minute here
    Server(address, Handler).serve_forever()


def serve_below() -> None:
    """Serve as a child: what is not a container's first process can be stopped from within."""
    child = os.fork()
    if child == 0:
        serve()
    signal.signal(signal.SIGTERM, lambda *_: die(0))
    die(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))


def main() -> None:
    """Serve; or crash before; or be a parent that starts a server again and again."""
    print(f"scripted: {does}", flush=True)
    if does == "tells":  # as a careless program does when it crashes
        print(dict(os.environ), flush=True)
        told = json.dumps(dict(os.environ))
        print(urllib.parse.quote(told), base64.b64encode(told.encode()).decode(), flush=True)
        sys.exit(f"RuntimeError: cannot log in with {dict(os.environ)}")
    if does.startswith("taunts"):
        print(f"(EngineCore pid=7) ERROR {TAUNT}", flush=True)
    if does == "taunts-and-crashes":
        sys.exit(f"RuntimeError: {TAUNT}")
    if does == "crashes":
        sys.exit("RuntimeError: it was not meant to be")
    if does == "freezes" and os.getpid() == 1:
        serve_below()
    if does != "restarts":
        serve()
    signal.signal(signal.SIGTERM, lambda *_: die(0))
    while True:
        child = os.fork()
        if child == 0:
            serve()
        os.waitpid(child, 0)
        print("the server ended; started again", flush=True)
        time.sleep(0.5)


if __name__ == "__main__":
    main()
