"""A machine knocks with a token and comes in once; what is wrong with it is said in one line, before any secret."""

import asyncio
import random
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest

from hawser.store import Conflict, Denied, MemoryStore, NotFound, Unavailable
from hawser.store.cluster import certificates, joining, pem, tokens
from hawser.store.cluster.certificates import Authority, Profile, Subject
from hawser.store.cluster.drivers.door import door
from hawser.store.cluster.drivers.home import Home
from hawser.store.cluster.drivers.knock import join, renew
from hawser.store.cluster.joining import Doorkeeper, JoinRequest, RenewRequest, make_token
from hawser.store.cluster.model import (
    CLUSTER,
    Capacity,
    Cluster,
    Machine,
    Membership,
    Role,
    Versions,
    encode,
    machine_key,
)
from hawser.store.cluster.tokens import Token, TokenRecord, TokenState
from tests.etcd import free_port

ID, NEW = "c1", "m2"
ADDRESS = ip_address("127.0.0.1")


class Gate:
    """A cluster of one machine with its door open."""

    def __init__(self, directory: Path) -> None:
        self.store, self.now, self.port = MemoryStore(), time.time(), free_port()
        self.home = Home(directory / "m1")
        self.authority = certificates.new_authority(ID, now=self.now, serial=1)
        self.bundle = self.authority.certificate
        self.keeper = Doorkeeper(
            self.store,
            ID,
            self.authority,
            self.bundle,
            lambda: ("https://127.0.0.1:2379",),
            clock=lambda: self.now,
            serial=time.time_ns,
        )

    async def open(self) -> None:
        ca = pem.key_hash(self.bundle)
        await self.store.put(CLUSTER, encode(Cluster(id=ID, created=self.now, ca=(ca,))))
        identify(self.home, self.authority, "m1", self.bundle)

    async def token(self, **options: object) -> tuple[Token, TokenRecord]:
        token, record = tokens.mint(
            secrets.token_bytes(21),
            cluster=ID,
            ca=pem.key_hash(self.bundle),
            endpoints=(f"127.0.0.1:{self.port}",),
            now=self.now,
            **options,  # type: ignore[arg-type]
        )
        await make_token(self.store, token, record)
        return token, record


def identify(home: Home, authority: Authority, machine: str, bundle: bytes, now: float | None = None) -> None:
    subject = Subject(cluster=ID, machine=machine, addresses=(ADDRESS,), profile=Profile.MEMBER)
    key = certificates.new_key()
    request = certificates.request(key, subject)
    issued = certificates.issue(authority, request, subject, now=now or time.time(), serial=time.time_ns())
    home.save_identity(issued, key, bundle)


def asking(
    token: Token, profile: Profile = Profile.MEMBER, machine: str = NEW, key: bytes | None = None
) -> JoinRequest:
    subject = Subject(cluster=ID, machine=machine, addresses=(ADDRESS,), profile=profile)
    csr = certificates.request(key or certificates.new_key(), subject).decode()
    return JoinRequest(token=token.id, secret=token.secret, machine=machine, addresses=("127.0.0.1",), csr=csr)


@asynccontextmanager
async def opened(directory: Path) -> AsyncIterator[Gate]:
    gate = Gate(directory)
    await gate.open()
    async with door(gate.keeper, gate.home, "127.0.0.1", gate.port):
        yield gate


async def test_a_machine_comes_in_and_gets_what_it_needs(rundir: Path) -> None:
    async with opened(rundir) as gate:
        token, _ = await gate.token()
        answer = await join(tokens.parse(tokens.encode(token)), asking(token))
        assert (answer.cluster.id, answer.role) == (ID, Role.MEMBER)
        assert answer.endpoints == ("https://127.0.0.1:2379",)
        assert answer.authority == gate.authority
        subject = certificates.verify(answer.certificate.encode(), answer.ca.encode(), now=time.time(), cluster=ID)
        assert (subject.machine, subject.profile) == (NEW, Profile.MEMBER)


async def test_a_client_does_not_get_the_ca_nor_a_members_certificate(rundir: Path) -> None:
    async with opened(rundir) as gate:
        token, _ = await gate.token(role=Role.CLIENT)
        with pytest.raises(Denied, match="it asks for the name etcd-peer"):
            await join(token, asking(token, Profile.MEMBER))
        answer = await join(token, asking(token, Profile.MACHINE))
        assert (answer.role, answer.authority) == (Role.CLIENT, None)


async def test_a_token_is_good_once_and_again_for_the_same_key(rundir: Path) -> None:
    async with opened(rundir) as gate:
        token, _ = await gate.token()
        key = certificates.new_key()
        await join(token, asking(token, key=key))
        await join(token, asking(token, key=key))
        with pytest.raises(Denied, match="was used up, last by machine m2"):
            await join(token, asking(token, machine="m3"))


async def test_many_machines_at_once_use_a_token_as_often_as_it_may_be(rundir: Path) -> None:
    async with opened(rundir) as gate:
        token, _ = await gate.token(uses=3)

        async def knocks(number: int) -> bool:
            try:
                await join(token, asking(token, machine=f"n{number}"))
            except (Denied, Unavailable):
                return False
            return True

        assert sum(await asyncio.gather(*(knocks(number) for number in range(6)))) == 3


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"secret": "a" * 26}, "another secret"),
        ({"id": "aaaaaaaa"}, "is not known here"),
    ],
)
async def test_a_wrong_token_is_refused(rundir: Path, change: dict[str, Any], words: str) -> None:
    async with opened(rundir) as gate:
        token, _ = await gate.token()
        wrong = replace(token, **change)
        with pytest.raises(Denied, match=words):
            await join(wrong, asking(wrong))


async def test_an_expired_and_a_revoked_token_are_refused_and_listed(rundir: Path) -> None:
    async with opened(rundir) as gate:
        late, _ = await gate.token(ttl=60)
        gate.now += 61
        with pytest.raises(Denied, match="expired"):
            await join(late, asking(late))
        back, _ = await gate.token()
        await joining.revoke_token(gate.store, back.id)
        with pytest.raises(Denied, match="was revoked"):
            await join(back, asking(back))
        listed = await joining.list_tokens(gate.store, gate.now)
        assert [(each.record.id, each.state) for each in listed] == [
            (late.id, TokenState.EXPIRED),
            (back.id, TokenState.REVOKED),
        ]
        await joining.forget_tokens(gate.store, gate.now + 2 * tokens.RETENTION)
        assert await joining.list_tokens(gate.store, gate.now) == []
        with pytest.raises(NotFound, match="no token"):
            await joining.revoke_token(gate.store, back.id)


async def test_a_server_of_another_cluster_never_hears_the_secret(rundir: Path) -> None:
    async with opened(rundir) as gate:
        token, record = await gate.token()
        stranger = replace(token, ca="sha256:" + "0" * 64)
        with pytest.raises(Denied, match="is not of the token's cluster"):
            await join(stranger, asking(stranger))
        (listed,) = await joining.list_tokens(gate.store, gate.now)
        assert listed.record == record


async def test_a_stranger_who_shows_our_ca_beside_its_own_never_hears_the_secret(rundir: Path) -> None:
    """The token's CA alone is trusted, whatever else is shown with it."""
    gate = Gate(rundir)
    await gate.open()
    token, record = await gate.token()
    other = certificates.new_authority(ID, now=gate.now, serial=2)
    identify(gate.home, other, "m1", other.certificate)
    gate.keeper.bundle = pem.join([gate.bundle, other.certificate])
    async with door(gate.keeper, gate.home, "127.0.0.1", gate.port):
        with pytest.raises(Unavailable, match=r"(?i)certificate.verify.failed"):
            await join(token, asking(token))
    (listed,) = await joining.list_tokens(gate.store, gate.now)
    assert listed.record == record


async def test_nobody_at_home_is_said_with_every_endpoint() -> None:
    token = Token(
        id="aaaaaaaa",
        secret="a" * 26,
        cluster=ID,
        ca="sha256:" + "0" * 64,
        endpoints=(f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"),
    )
    with pytest.raises(Unavailable, match=r"no machine of the cluster answers: 127\.0\.0\.1:\d+ .*, 127"):
        await join(token, asking(token))


async def test_a_certificate_is_renewed_for_who_shows_a_valid_one(rundir: Path) -> None:
    async with opened(rundir) as gate:
        home = Home(rundir / "m2")
        identify(home, gate.authority, NEW, gate.bundle)
        subject = Subject(cluster=ID, machine=NEW, addresses=(ADDRESS,), profile=Profile.MEMBER)
        key = certificates.new_key()
        request = RenewRequest(csr=certificates.request(key, subject).decode())
        answer = await renew(home, [f"127.0.0.1:{gate.port}"], request)
        assert certificates.verify(answer.certificate.encode(), gate.bundle, now=gate.now).machine == NEW
        other = RenewRequest(csr=certificates.request(key, replace(subject, machine="m9")).decode())
        with pytest.raises(Denied, match="not for CN=m2"):
            await renew(home, [f"127.0.0.1:{gate.port}"], other)
        gate.now += 30 * certificates.DAY
        with pytest.raises(Denied, match="expired on"):
            await renew(home, [f"127.0.0.1:{gate.port}"], request)


async def test_a_home_is_whole_or_not_there(rundir: Path) -> None:
    home = Home(rundir / "home")
    assert (home.membership(), home.authority()) == (None, None)
    with pytest.raises(Unavailable, match="must join again"):
        home.identity()
    authority = certificates.new_authority(ID, now=time.time(), serial=1)
    identify(home, authority, "m1", authority.certificate)
    home.save_authority(authority)
    assert home.authority() == authority
    assert {path.stat().st_mode & 0o777 for path in home.directory.iterdir()} == {0o600}
    home.forget()
    assert not home.directory.exists()


async def test_a_token_is_no_way_to_take_another_ones_place(rundir: Path) -> None:
    async with opened(rundir) as gate:
        versions = Versions(hawser="1", kernel="6")
        capacity = Capacity(cpus=1, memory=1, disk=1)
        there = Machine(id="m5", addresses=("127.0.0.1",), capacity=capacity, versions=versions, started=1.0)
        token, record = await gate.token()
        await gate.store.put(machine_key("m5"), encode(there))
        with pytest.raises(Conflict, match="a machine m5 is in this cluster already"):
            await join(token, asking(token, machine="m5"))
        with pytest.raises(Conflict, match=r"address 127\.0\.0\.1 is that of machine m5"):
            await join(token, asking(token))
        (listed,) = await joining.list_tokens(gate.store, gate.now)
        assert listed.record == record, "nothing of the token is used up"


@pytest.mark.parametrize("offset", [7200.0, -9 * certificates.DAY])
async def test_clocks_that_differ_are_named(rundir: Path, offset: float) -> None:
    async with opened(rundir) as gate:
        identify(gate.home, gate.authority, "m1", gate.bundle, now=gate.now + offset)
        async with door(gate.keeper, gate.home, "127.0.0.1", (port := free_port())):
            token = replace((await gate.token())[0], endpoints=(f"127.0.0.1:{port}",))
            with pytest.raises(Unavailable, match="compare the clocks of both machines"):
                await join(token, asking(token))


async def test_no_request_breaks_the_door(rundir: Path) -> None:
    """Whatever bytes are changed: it is refused, with a reason."""
    chance = random.Random(3)
    async with opened(rundir) as gate, aiohttp.ClientSession() as session:
        token, _ = await gate.token(uses=1000)
        whole = msgspec.json.encode(asking(token))
        nested = b'{"x":' + b"[" * 20_000
        for body in (nested, b"", b"\xff", *(_spoilt(whole, chance) for _ in range(100))):
            url = f"https://127.0.0.1:{gate.port}/v1/join"
            async with session.post(url, data=body, ssl=False) as answer:
                assert answer.status in (200, 400, 403), body
                assert answer.status == 200 or await answer.text()


def _spoilt(text: bytes, chance: random.Random) -> bytes:
    spoilt = bytearray(text)
    for _ in range(chance.randint(1, 4)):
        spoilt[chance.randrange(len(spoilt))] = chance.randrange(256)
    return bytes(spoilt)


async def test_the_key_to_ask_with_is_kept_until_the_machine_is_in(rundir: Path) -> None:
    home = Home(rundir / "home")
    key = home.asking(certificates.new_key)
    home.save_etcd({"left": "by an attempt that was cut off"})
    home.start_anew()
    assert home.asking(certificates.new_key) == key
    assert [path.name for path in home.directory.iterdir()] == ["joining.pem"]
    ca = "sha256:" + "0" * 64
    home.save_membership(
        Membership(cluster=ID, machine=NEW, role=Role.CLIENT, endpoints=("h:1",), ca=(ca,), joined=1.0)
    )
    assert home.asking(certificates.new_key) != key
