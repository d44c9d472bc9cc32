"""The command line's side of the API: HTTP/1.0 over the node's unix socket, by hand.

One request a connection, no keep-alive, no TLS: the whole protocol is a few lines, and importing an HTTP
library would cost more than the request. Answers are JSON; listings that follow (logs, watch) are one JSON
document a line, the last of which is END; without it the node went away.
"""

import json
import socket
from collections.abc import Iterator
from typing import Any, BinaryIO
from urllib.parse import quote, urlencode

from .faults import Fault
from .paths import socket_path

CHUNK = 1 << 18
END = {"end": True}


def _connect(path: str) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.connect(path)
    except PermissionError:
        sock.close()
        raise Fault(f"{path}: not allowed to speak to the node; run as root", "denied") from None
    except OSError as error:
        sock.close()
        reason = error.strerror or error
        raise Fault(f"no node answers at {path} ({reason}); start one: hawser node up", "unavailable") from None
    return sock


def segment(text: str) -> str:
    """One path segment, quoted."""
    return quote(text, safe="")


class Client:
    """Requests to one node; every method raises `Fault` with the node's own words and kind."""

    def __init__(self, path: str | None = None) -> None:
        self.path = path or socket_path()

    def get(self, path: str, **query: object) -> Any:
        return self.request("GET", path, None, query)

    def post(self, path: str, body: object = None, **query: object) -> Any:
        return self.request("POST", path, body, query)

    def put(self, path: str, body: object = None, **query: object) -> Any:
        return self.request("PUT", path, body, query)

    def delete(self, path: str, **query: object) -> Any:
        return self.request("DELETE", path, None, query)

    def request(self, method: str, path: str, body: object, query: dict[str, object]) -> Any:
        """One exchange; the decoded answer, or None when it has no body."""
        payload = b"" if body is None else json.dumps(body).encode()
        with _connect(self.path) as sock:
            sock.sendall(self._head(method, path, query, len(payload)) + payload)
            stream = sock.makefile("rb")
            status = _status(stream)
            text = stream.read()
        return _decode(status, text)

    def text(self, path: str) -> str:
        """An answer that is plain text."""
        with _connect(self.path) as sock:
            sock.sendall(self._head("GET", path, {}, 0))
            stream = sock.makefile("rb")
            status = _status(stream)
            answer = stream.read()
        if status >= 400:
            _decode(status, answer)
        return answer.decode()

    def upload(self, path: str, source: BinaryIO, **query: object) -> Any:
        """Send a file as the body, in chunks; the node answers when it has all of it."""
        with _connect(self.path) as sock:
            sock.sendall(self._head("POST", path, query, None))
            try:
                while block := source.read(CHUNK):
                    sock.sendall(b"%x\r\n" % len(block) + block + b"\r\n")
                sock.sendall(b"0\r\n\r\n")
            except (BrokenPipeError, ConnectionResetError):
                pass  # the node refused early; its answer says why
            stream = sock.makefile("rb")
            return _decode(_status(stream), stream.read())

    def lines(self, method: str, path: str, body: object = None, **query: object) -> Iterator[Any]:
        """A streamed answer: one decoded JSON document a line, until the node closes."""
        payload = b"" if body is None else json.dumps(body).encode()
        with _connect(self.path) as sock:
            sock.sendall(self._head(method, path, query, len(payload)) + payload)
            stream = sock.makefile("rb")
            status = _status(stream)
            if status >= 400:
                _decode(status, stream.read())
            while (document := _document(stream.readline())) != END:
                if "error" in document:
                    error = document["error"]
                    raise Fault(error["message"], error["kind"], error.get("code"))
                yield document

    def _head(self, method: str, path: str, query: dict[str, object], length: int | None) -> bytes:
        pairs = {key: value for key, value in query.items() if value is not None}
        target = f"{path}?{urlencode(pairs)}" if pairs else path
        size = "Transfer-Encoding: chunked" if length is None else f"Content-Length: {length}"
        version = "1.1" if length is None else "1.0"
        return (
            f"{method} {target} HTTP/{version}\r\nHost: hawser\r\nConnection: close\r\n"
            f"Content-Type: application/json\r\n{size}\r\n\r\n"
        ).encode()


def _status(stream: BinaryIO | Any) -> int:
    try:
        words = stream.readline().split(None, 2)
    except ConnectionError:
        words = []
    if not words:
        raise Fault("the node closed the connection without an answer; see its log", "unavailable")
    if len(words) < 2 or not words[0].startswith(b"HTTP/") or not words[1].isdigit():
        raise Fault(f"what answers at {socket_path()} is no node of hawser's", "unavailable")
    while stream.readline() not in (b"\r\n", b"\n", b""):
        pass
    return int(words[1])


def _document(line: bytes) -> dict[str, Any]:
    """One line of a streamed answer. Fault when the node went away before its end."""
    try:
        document: dict[str, Any] = json.loads(line)
    except ValueError:
        raise Fault("the node went away in the middle of its answer; see its log", "unavailable") from None
    return document


def _decode(status: int, text: bytes) -> Any:
    try:
        document = json.loads(text) if text.strip() else None
    except ValueError:
        raise Fault(f"the node answered with status {status} and no JSON; is {socket_path()} hawser's?") from None
    if status >= 400:
        error = (document or {}).get("error", {})
        raise Fault(error.get("message", f"the node answered {status}"), error.get("kind", "failed"), error.get("code"))
    return document
