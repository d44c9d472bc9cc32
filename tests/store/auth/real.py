"""A real etcd with signed tokens whose secret the tests know, so that they speak for anybody at any revision."""

import base64
import contextlib
import http.client
import json
import tempfile
import time
from collections.abc import Iterator
from typing import Any

from hawser.store.auth import ROOT
from hawser.store.auth.jwt import JwtTokens, load_key
from tests.etcd import member

SECRET = b"the secret of the tests"
TOKENS = JwtTokens(load_key("HS256", SECRET), ttl=600)
Refusal = tuple[int, str] | None
"""etcd's code and text, or None: it consented."""


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


class RealEtcd:
    """Calls of its JSON gateway over one connection. Its auth revision is ours and `offset`."""

    offset = 0

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)

    def call(self, path: str, body: dict[str, Any], token: str | None = None) -> dict[str, Any]:
        headers = {"Content-Type": "application/json"} | ({"Authorization": token} if token else {})
        self._connection.request("POST", f"/v3/{path}", json.dumps(body), headers)
        with self._connection.getresponse() as answer:
            line = answer.readline()
            if b'"result"' in line[:9]:  # a stream: its first message will do
                self._connection.close()
            answer.read()
        return dict(json.loads(line))

    def refusal(self, path: str, body: dict[str, Any], token: str | None = None) -> Refusal:
        answer = self.call(path, body, token)
        error = answer.get("error")
        if isinstance(error, dict):
            return error["grpc_code"], error["message"]
        return (answer["code"], error) if error else None

    def token(self, user: str | None, revision: int = 1) -> str | None:
        """Somebody's, at one of our revisions."""
        return user and TOKENS.issue(user, revision + self.offset, now=time.time())

    def empty(self) -> None:
        """Nobody, no roles, no keys, disabled: as ours begins."""
        root = TOKENS.issue(ROOT, 1, now=time.time())
        self.call("auth/disable", {}, root)
        for user in self.call("auth/user/list", {}).get("users", []):
            self.call("auth/user/delete", {"name": user})
        for role in self.call("auth/role/list", {}).get("roles", []):
            self.call("auth/role/delete", {"role": role})
        self.call("kv/deleterange", {"key": b64(b"\0"), "range_end": b64(b"\0")})
        self.call("auth/user/add", {"name": ROOT, "password": "pw"})
        self.call("auth/user/grant", {"user": ROOT, "role": ROOT})
        self.call("auth/enable", {})
        token = self.call("auth/authenticate", {"name": ROOT, "password": "pw"})["token"]
        self.call("auth/disable", {}, root)
        self.call("auth/user/delete", {"name": ROOT})
        now = TOKENS.identify(token, 0, now=time.time()).revision + 2
        self.offset = now - 1


@contextlib.contextmanager
def running() -> Iterator[RealEtcd]:
    with tempfile.NamedTemporaryFile() as secret:
        secret.write(SECRET)
        secret.flush()
        token = f"jwt,sign-method=HS256,priv-key={secret.name},ttl=10m"
        with member("--bcrypt-cost", "4", "--auth-token", token) as etcd:
            yield RealEtcd(etcd.port)
