"""Answers to queries, byte for byte, judged by an independent DNS library."""

from dataclasses import replace
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Any

import dns.edns
import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hawser.mesh import wire
from hawser.mesh.dns import Responder, Verdict
from hawser.mesh.model import Instance
from hawser.mesh.zone import Listener

from .support import addresses, instance

GATEWAY = ip_address("10.0.0.1")
INSTANCES = (
    instance(id="a", addresses=["10.0.0.11"], port=8080),
    instance(id="b", addresses=["10.0.0.12", "fd00::12"], port=8081),
    instance(id="sick", healthy=False, addresses=["10.0.0.13"], port=8082),
    instance(service="db", id="1", addresses=["10.0.0.21"], port=5432),
    instance(service="down", id="1", healthy=False, addresses=["10.0.0.31"]),
    instance(tenant="beta", service="secret", id="1", addresses=["10.0.1.99"]),
)


BOTH = (
    instance(id="near", addresses=["10.0.0.11"], port=8080),
    instance(id="far", addresses=["10.7.0.11", "fd07::11"], port=8081),
    instance(id="two", addresses=["10.7.0.12", "10.0.0.12"], port=8082),
    instance(service="away", id="1", addresses=["10.7.0.13"], port=5432),
)
HIDDEN = (ip_network("10.7.0.0/24"), ip_network("fd07::/64"))


def responder(instances: tuple[Instance, ...] = INSTANCES, tenant: str = "acme", forward: bool = False) -> Responder:
    listener = Listener(tenant=tenant, addresses=(GATEWAY,), forward=forward)
    return Responder(listener, lambda tenant: instances)


def ask(name: str, kind: str = "A", *, server: Responder | None = None, turn: int = 0, tcp: bool = False,
        **more: Any) -> dns.message.Message:  # fmt: skip
    query = dns.message.make_query(name, kind, **more)
    answer = (server or responder()).respond(query.to_wire(), turn=turn, tcp=tcp)
    assert isinstance(answer, bytes)
    message = dns.message.from_wire(answer)
    assert query.is_response(message)
    return message


def outcome(message: dns.message.Message) -> str:
    """`NXDOMAIN`, `NODATA` (with its SOA) or `DATA`."""
    if message.answer:
        return "DATA"
    assert [rrset.rdtype for rrset in message.authority] == [dns.rdatatype.SOA]
    assert message.authority[0].name == dns.name.from_text("mesh.internal")
    return "NXDOMAIN" if message.rcode() == dns.rcode.NXDOMAIN else "NODATA"


def test_a_service_is_its_healthy_instances() -> None:
    found = ask("web.acme.mesh.internal")
    assert sorted(addresses(found)) == ["10.0.0.11", "10.0.0.12"]
    assert found.flags & dns.flags.AA
    assert 0 < found.answer[0].ttl <= 5
    assert addresses(ask("web.acme.mesh.internal", "AAAA")) == ["fd00::12"]


def reaching(*hidden: IPv4Network | IPv6Network) -> Responder:
    """Asked from a network that does not reach these."""
    listener = Listener(tenant="acme", addresses=(GATEWAY,), hidden=hidden)
    return Responder(listener, lambda tenant: BOTH)


def test_an_address_that_cannot_be_reached_is_not_given() -> None:
    server = reaching(*HIDDEN)
    assert sorted(addresses(ask("web.acme.mesh.internal", server=server))) == ["10.0.0.11", "10.0.0.12"]
    assert outcome(ask("web.acme.mesh.internal", "AAAA", server=server)) == "NODATA"
    assert addresses(ask("two.web.acme.mesh.internal", server=server)) == ["10.0.0.12"]
    assert len(addresses(ask("web.acme.mesh.internal", server=reaching()))) == 4
    assert len(addresses(ask("web.acme.mesh.internal", server=reaching(HIDDEN[1])))) == 4


@pytest.mark.parametrize("kind", ["A", "AAAA", "SRV"])
@pytest.mark.parametrize("name", ["far.web.acme.mesh.internal", "away.acme.mesh.internal"])
def test_what_has_no_address_left_has_no_data(name: str, kind: str) -> None:
    assert outcome(ask(name, kind, server=reaching(*HIDDEN))) == "NODATA"


def test_srv_points_only_where_one_can_go() -> None:
    server = reaching(*HIDDEN)
    found = ask("_web._tcp.acme.mesh.internal", "SRV", server=server)
    assert sorted(record.port for record in found.answer[0]) == [8080, 8082]
    assert sorted(str(record) for rrset in found.additional for record in rrset) == ["10.0.0.11", "10.0.0.12"]
    assert outcome(ask("_away._tcp.acme.mesh.internal", "SRV", server=server)) == "NODATA"


def test_an_address_that_cannot_be_reached_has_no_name_and_is_asked_of_nobody_else() -> None:
    listener = Listener(tenant="acme", addresses=(GATEWAY,), hidden=HIDDEN, forward=True)
    server = Responder(listener, lambda tenant: BOTH)
    assert outcome(ask("11.0.7.10.in-addr.arpa", "PTR", server=server)) == "NODATA"
    assert ask("12.0.0.10.in-addr.arpa", "PTR", server=server).answer


def test_an_instance_has_a_name_of_its_own() -> None:
    assert addresses(ask("b.web.acme.mesh.internal")) == ["10.0.0.12"]
    assert addresses(ask("b.web.acme.mesh.internal", "AAAA")) == ["fd00::12"]


@pytest.mark.parametrize("name", ["_web._tcp.acme.mesh.internal", "web.acme.mesh.internal"])
def test_srv_has_ports_and_targets_whose_addresses_come_along(name: str) -> None:
    found = ask(name, "SRV")
    assert {(str(item.target), item.port) for item in found.answer[0]} == {
        ("a.web.acme.mesh.internal.", 8080),
        ("b.web.acme.mesh.internal.", 8081),
    }
    extra = {(str(rrset.name), str(item)) for rrset in found.additional for item in rrset}
    assert extra == {
        ("a.web.acme.mesh.internal.", "10.0.0.11"),
        ("b.web.acme.mesh.internal.", "10.0.0.12"),
        ("b.web.acme.mesh.internal.", "fd00::12"),
    }


@pytest.mark.parametrize(
    ("name", "kind", "wanted"),
    [
        ("db.acme.mesh.internal", "AAAA", "NODATA"),
        ("a.web.acme.mesh.internal", "AAAA", "NODATA"),
        ("web.acme.mesh.internal", "TXT", "NODATA"),
        ("down.acme.mesh.internal", "A", "NODATA"),
        ("sick.web.acme.mesh.internal", "A", "NODATA"),
        ("_down._tcp.acme.mesh.internal", "SRV", "NODATA"),
        ("_web._tcp.acme.mesh.internal", "A", "NODATA"),
        ("_tcp.acme.mesh.internal", "SRV", "NODATA"),
        ("acme.mesh.internal", "A", "NODATA"),
        ("mesh.internal", "A", "NODATA"),
        ("nosuch.acme.mesh.internal", "A", "NXDOMAIN"),
        ("c.web.acme.mesh.internal", "A", "NXDOMAIN"),
        ("x.a.web.acme.mesh.internal", "A", "NXDOMAIN"),
        ("_nosuch._tcp.acme.mesh.internal", "SRV", "NXDOMAIN"),
        ("_web._udp.acme.mesh.internal", "SRV", "NXDOMAIN"),
        ("beta.mesh.internal", "A", "NXDOMAIN"),
        ("secret.beta.mesh.internal", "A", "NXDOMAIN"),
        ("1.secret.beta.mesh.internal", "A", "NXDOMAIN"),
        ("secret.acme.mesh.internal", "A", "NXDOMAIN"),
    ],
)
def test_no_data_of_a_name_that_exists_is_not_no_such_name(name: str, kind: str, wanted: str) -> None:
    assert outcome(ask(name, kind)) == wanted
    assert outcome(ask(name, kind, server=responder(forward=True))) == wanted


def test_an_instance_without_a_port_has_addresses_and_no_srv() -> None:
    server = responder((replace(instance(service="host", id="c"), port=0),))
    assert outcome(ask("host.acme.mesh.internal", server=server)) != "NODATA"
    assert outcome(ask("_host._tcp.acme.mesh.internal", "SRV", server=server)) == "NODATA"


def test_a_negative_answer_may_be_kept_for_seconds_only() -> None:
    soa = ask("nosuch.acme.mesh.internal").authority[0]
    assert 0 < min(soa.ttl, soa[0].minimum) <= 5


def test_the_zone_knows_itself() -> None:
    soa = ask("mesh.internal", "SOA").answer[0][0]
    assert str(soa.mname) == "ns.mesh.internal."
    assert str(ask("mesh.internal", "NS").answer[0][0]) == "ns.mesh.internal."
    assert addresses(ask("ns.mesh.internal")) == [str(GATEWAY)]


def test_an_address_leads_back_to_its_instance_within_the_tenant() -> None:
    assert str(ask("12.0.0.10.in-addr.arpa", "PTR").answer[0][0]) == "b.web.acme.mesh.internal."
    assert str(ask(ip_address("fd00::12").reverse_pointer, "PTR").answer[0][0]) == "b.web.acme.mesh.internal."
    assert ask("99.1.0.10.in-addr.arpa", "PTR").rcode() == dns.rcode.REFUSED


def test_letter_case_is_kept_and_does_not_matter() -> None:
    query = dns.message.make_query("wEb.AcMe.MESH.internal", "A")
    answer = responder().respond(query.to_wire())
    assert isinstance(answer, bytes)
    assert b"\x03wEb\x04AcMe\x04MESH\x08internal\x00" in answer
    message = dns.message.from_wire(answer)
    assert message.answer[0].name.to_text() == "wEb.AcMe.MESH.internal."
    assert len(addresses(message)) == 2


def test_answers_rotate() -> None:
    server = responder()
    firsts = [addresses(ask("web.acme.mesh.internal", server=server, turn=turn))[0] for turn in range(4)]
    assert firsts[0] != firsts[1]
    assert firsts[:2] == firsts[2:]
    srv = {ask("_web._tcp.acme.mesh.internal", "SRV", server=server, turn=turn).answer[0][0].port for turn in (0, 1)}
    assert srv == {8080, 8081}


def test_a_change_is_answered_at_once() -> None:
    state: list[tuple[Instance, ...]] = [INSTANCES]
    server = Responder(Listener(tenant="acme", addresses=(GATEWAY,)), lambda tenant: state[0])
    assert len(addresses(ask("web.acme.mesh.internal", server=server))) == 2
    serial = ask("mesh.internal", "SOA", server=server).answer[0][0].serial
    state[0] = INSTANCES[1:]
    assert addresses(ask("web.acme.mesh.internal", server=server)) == ["10.0.0.12"]
    assert ask("mesh.internal", "SOA", server=server).answer[0][0].serial > serial


def many(count: int) -> tuple[Instance, ...]:
    return tuple(
        instance(id=f"instance-{number}", addresses=[f"10.1.{number // 250}.{number % 250 + 1}"])
        for number in range(count)
    )


@pytest.mark.parametrize(("edns", "limit"), [(None, 512), (512, 512), (100, 512), (1232, 1232), (4096, 1232)])
def test_udp_answers_stay_under_the_limit_and_say_so(edns: int | None, limit: int) -> None:
    more: dict[str, Any] = {} if edns is None else {"use_edns": 0, "payload": edns}
    fits = (limit - 40 - (11 if edns else 0)) // 16
    whole = ask("web.acme.mesh.internal", server=responder(many(fits)), **more)
    assert len(addresses(whole)) == fits
    assert not whole.flags & dns.flags.TC
    over = ask("web.acme.mesh.internal", server=responder(many(fits + 1)), **more)
    assert addresses(over) == []
    assert over.flags & dns.flags.TC
    assert len(over.to_wire()) <= limit


def test_additional_records_are_left_out_before_answers_are() -> None:
    found = ask("_web._tcp.acme.mesh.internal", "SRV", server=responder(many(8)))
    assert (len(found.answer[0]), found.additional) == (8, [])
    assert not found.flags & dns.flags.TC


def test_tcp_has_room_for_much_and_for_what_fits_of_too_much() -> None:
    everything = ask("web.acme.mesh.internal", server=responder(many(900)), tcp=True)
    assert len(addresses(everything)) == 900
    some = ask("_web._tcp.acme.mesh.internal", "SRV", server=responder(many(1500)), tcp=True, turn=7)
    assert 900 < len(some.answer[0]) < 1500
    assert some.flags & dns.flags.TC


def test_opt_is_in_the_answer_only_when_it_was_in_the_query() -> None:
    assert ask("web.acme.mesh.internal").edns == -1
    found = ask("web.acme.mesh.internal", use_edns=0, payload=4096, want_dnssec=True)
    assert (found.edns, found.payload) == (0, 1232)
    assert found.ednsflags & dns.flags.DO


def test_an_unknown_edns_version_is_badvers_and_unknown_options_are_ignored() -> None:
    assert ask("web.acme.mesh.internal", use_edns=1).rcode() == dns.rcode.BADVERS
    option = dns.edns.GenericOption(dns.edns.OptionType.make(65001), b"what?")
    assert len(addresses(ask("web.acme.mesh.internal", use_edns=0, options=[option]))) == 2


def test_any_gets_one_small_record() -> None:
    found = ask("web.acme.mesh.internal", "ANY")
    assert [rrset.rdtype for rrset in found.answer] == [dns.rdatatype.HINFO]
    assert found.answer[0].name == dns.name.from_text("web.acme.mesh.internal")
    assert found.answer[0][0].cpu == b"RFC8482"
    assert outcome(ask("nosuch.acme.mesh.internal", "ANY")) == "NXDOMAIN"


def test_foreign_names_are_refused_or_forwarded() -> None:
    wire_query = dns.message.make_query("example.com", "A").to_wire()
    assert ask("example.com").rcode() == dns.rcode.REFUSED
    assert responder(forward=True).respond(wire_query) is Verdict.FORWARD
    assert ask("example.com", flags=0, server=responder(forward=True)).rcode() == dns.rcode.REFUSED
    assert not ask("web.acme.mesh.internal").flags & dns.flags.RA
    assert ask("web.acme.mesh.internal", server=responder(forward=True)).flags & dns.flags.RA


def test_a_bare_name_is_not_told_to_anybody() -> None:
    assert ask("web", server=responder(forward=True)).rcode() == dns.rcode.NXDOMAIN


def test_other_classes_transfers_and_opcodes_are_not_for_us() -> None:
    assert ask("web.acme.mesh.internal", rdclass="CH").rcode() == dns.rcode.REFUSED
    transfer = responder().respond(dns.message.make_query("mesh.internal", "AXFR").to_wire())
    assert isinstance(transfer, bytes)
    assert transfer[3] & 15 == dns.rcode.REFUSED
    query = dns.message.make_query("web.acme.mesh.internal", "A")
    query.set_opcode(dns.opcode.STATUS)
    answer = responder().respond(query.to_wire())
    assert isinstance(answer, bytes)
    assert (answer[:2], answer[2] >> 3 & 15, answer[3] & 15) == (query.to_wire()[:2], 2, dns.rcode.NOTIMP)


GOOD = dns.message.make_query("web.acme.mesh.internal", "A", use_edns=0).to_wire()
HEAD = GOOD[:12]


@pytest.mark.parametrize(
    "data",
    [
        HEAD,
        GOOD[:20],
        GOOD[:-1],
        GOOD + b"x",
        GOOD[:4] + b"\0\2" + GOOD[6:],
        GOOD[:4] + b"\0\0" + GOOD[6:],
        HEAD + b"\xc0\x0c\0\1\0\1",
        HEAD + b"\x40" + b"a" * 64 + b"\0\0\1\0\1",
        HEAD + (b"\x3f" + b"a" * 63) * 4 + b"\0\0\1\0\1",
        GOOD[:10] + b"\0\2" + GOOD[12:] + GOOD[-11:],
    ],
)
def test_a_malformed_query_is_a_format_error(data: bytes) -> None:
    answer = responder().respond(data)
    assert isinstance(answer, bytes)
    assert answer[:2] == data[:2]
    assert answer[3] & 15 == dns.rcode.FORMERR


@pytest.mark.parametrize("data", [b"", b"\0" * 11, GOOD[:2] + b"\x80" + GOOD[3:]])
def test_what_is_no_query_gets_no_answer(data: bytes) -> None:
    assert responder().respond(data) is Verdict.DROP


@given(st.binary(max_size=80), st.integers(0, len(GOOD)), st.integers(0, len(GOOD)), st.booleans())
@settings(max_examples=100)
def test_no_bytes_raise(noise: bytes, start: int, end: int, tcp: bool) -> None:
    server = responder(forward=True)
    for data in (noise, GOOD[:start] + noise + GOOD[end:]):
        answer = server.respond(data, tcp=tcp)
        if isinstance(answer, bytes):
            assert answer[:2] == data[:2]
            assert answer[2] & 0x80
            dns.message.from_wire(answer)
        assert server.failure(data) is None or answer is not Verdict.DROP


LABELS = st.from_regex(r"[a-zA-Z0-9_-]{1,9}", fullmatch=True)


@given(st.lists(LABELS, min_size=1, max_size=6), st.integers(0, 65535), st.integers(1, 250), st.integers(-1, 3))
@settings(max_examples=80)
def test_queries_are_read_as_the_oracle_wrote_them(labels: list[str], id: int, kind: int, edns: int) -> None:
    if kind == dns.rdatatype.OPT:
        kind = dns.rdatatype.A
    query = dns.message.make_query(
        ".".join(labels), dns.rdatatype.RdataType.make(kind), use_edns=edns if edns >= 0 else False, payload=1400, id=id
    )
    read = wire.parse(query.to_wire())
    assert read is not None
    assert (read.id, read.type, read.klass) == (id, kind, 1)
    assert read.name == tuple(label.lower().encode() for label in labels)
    assert read.edns == (None if edns < 0 else wire.Edns(1400, edns, False))
    assert read.fault == (wire.Rcode.BADVERS if edns > 0 else wire.Rcode.NOERROR)


@given(st.lists(LABELS, min_size=1, max_size=5), st.lists(LABELS, min_size=0, max_size=5), st.integers(0, 5))
@settings(max_examples=80)
def test_a_compressed_owner_is_the_name_itself(asked: list[str], front: list[str], shared: int) -> None:
    question = tuple(label.lower().encode() for label in asked)
    owner = tuple(label.lower().encode() for label in front) + question[max(0, len(question) - shared) :]
    query = wire.parse(dns.message.make_query(".".join(asked), "A").to_wire())
    assert query is not None
    record = wire.write_record(wire.write_owner(owner, question), wire.Type.A, 5, b"\x0a\0\0\1")
    message = dns.message.from_wire(wire.write_message(query, wire.AA, wire.Rcode.NOERROR, [record]))
    assert message.answer[0].name == dns.name.Name((*owner, b""))
