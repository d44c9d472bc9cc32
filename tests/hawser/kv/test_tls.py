"""TLS: servers that are believed or not, clients that are let in or not, and whose certificate says who they are."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.store.etcd.client.certificates import Authority

from .servers import Server, kv


class Secured:
    """A server with TLS that lets in who has a certificate."""

    def __init__(self, server: Server, authority: Authority) -> None:
        self.server, self.authority = server, authority
        self.url = f"https://127.0.0.1:{server.port}"

    def kv(self, name: str, *arguments: str) -> tuple[int, str]:
        """A command with the certificate of that name; the code and the only line of the answer."""
        certificate, key = self.authority.issue(name)
        files = ("--cacert", str(self.authority.ca), "--cert", str(certificate), "--key", str(key))
        outcome = kv("--endpoints", self.url, *files, *arguments)
        lines = [*outcome.text.splitlines(), *outcome.err.splitlines()]
        assert len(lines) <= 1, outcome
        return outcome.code, "".join(lines)


@pytest.fixture(scope="module", params=["hawser", "etcd"])
def secured(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    directory = tmp_path_factory.mktemp("tls")
    authority = Authority(directory)
    certificate, key = (str(path) for path in authority.issue("server"))
    if request.param == "hawser":
        extra = ["--cert", certificate, "--key", key, "--client-ca", str(authority.ca)]
    else:
        extra = ["--cert-file", certificate, "--key-file", key, "--trusted-ca-file", str(authority.ca)]
        extra.append("--client-cert-auth")
    server = Server(request.param, directory, tuple(extra), scheme="https")
    with server.started():
        yield Secured(server, authority)


def test_a_certificate_of_the_authority_is_let_in_and_says_who_its_holder_is(secured: Secured) -> None:
    assert secured.kv("root", "put", "a", "1")[0] == 0
    for line in ("user add root:secret", "role add reader", "role grant reader read a", "user add --no-password ann"):
        assert secured.kv("root", *line.split())[0] == 0
    assert secured.kv("root", "user", "grant", "ann", "reader")[0] == 0
    assert secured.kv("root", "auth", "on") == (0, "")
    try:
        assert secured.kv("ann", "get", "a") == (0, "1")
        assert secured.kv("ann", "put", "a", "2")[0] == 6
    finally:
        assert secured.kv("root", "auth", "off") == (0, "")


def test_what_is_wrong_is_one_line(secured: Secured, tmp_path: Path) -> None:
    stranger = Authority(tmp_path, "stranger")
    ours, theirs = secured.authority.issue("ann"), stranger.issue("eve")
    old = secured.authority.issue("old", days=-1)
    ca = str(secured.authority.ca)
    plain = f"http://127.0.0.1:{secured.server.port}"
    for endpoints, files, code in (
        (secured.url, (str(stranger.ca), *map(str, ours)), 5),
        (secured.url, (ca, *map(str, theirs)), 5),
        (secured.url, (ca, *map(str, old)), 5),
        (secured.url, (ca, str(ours[0]), str(theirs[1])), 2),
        (secured.url, ("/etc/passwd", *map(str, ours)), 2),
        (secured.url, ("/no/such/file", *map(str, ours)), 2),
        (plain, None, 5),
    ):
        options = () if files is None else ("--cacert", files[0], "--cert", files[1], "--key", files[2])
        outcome = kv("--endpoints", endpoints, "--timeout", "0.5", *options, "get", "a")
        assert (outcome.code, outcome.out, len(outcome.err.splitlines())) == (code, b"", 1), (files, outcome)
    nobody = kv("--endpoints", secured.url, "--timeout", "0.5", "--cacert", ca, "get", "a")
    assert (nobody.code, len(nobody.err.splitlines())) == (5, 1)
