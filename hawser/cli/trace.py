"""`hawser net trace`: where a packet goes, and where a real one was last seen."""

from collections.abc import Iterator
from typing import Any

import click

from . import complete
from .common import as_json, client, show_json

PORT = click.IntRange(1, 65535)


@click.command()
@click.option("--tcp", type=PORT, metavar="PORT", help="A connection to this port, closed at once.")
@click.option("--udp", type=PORT, metavar="PORT", help="A datagram to this port.")
@click.option("--icmp", is_flag=True, help="An echo request [default].")
@click.option("--tenant", "-t", help="Whose ports are meant, where names fit several.")
@click.option("-4", "version", flag_value=4, type=int, help="By IPv4 [default: where both have it].")
@click.option("-6", "version", flag_value=6, type=int, help="By IPv6.")
@click.option("--timeout", type=click.FloatRange(0, 30, min_open=True), default=2.0, show_default=True, help="Seconds.")
@click.option("--no-probe", is_flag=True, help="Only what policies and routers say; send nothing.")
@as_json
@click.argument("src", shell_complete=complete.containers)
@click.argument("dst", shell_complete=complete.containers)
def trace(
    src: str, dst: str, tcp: int | None, udp: int | None, icmp: bool, no_probe: bool, json_: bool, **options: Any
) -> int:
    """Say what becomes of a packet from SRC to DST, hop by hop, and send one to see.

    SRC is a container, or a port (sandbox:interface), on whichever machine; DST the same, or an address. First the
    decision: the way, who was asked, which rule decides. Then a real packet, from SRC's own namespace, counted where it
    comes by. Ends with 1 when it did not fare as was said.
    """
    if (tcp is not None) + (udp is not None) + icmp > 1:
        raise click.UsageError("give one of --tcp, --udp and --icmp")
    proto, port = ("tcp", tcp) if tcp is not None else ("udp", udp) if udp is not None else ("icmp", None)
    answer = client().get("/v1/trace", src=src, dst=dst, proto=proto, port=port, live=int(not no_probe), **options)
    if json_:
        show_json(answer)
    else:
        click.echo("\n".join((*answer["lines"], *_sent(answer))))
    return int(_odd(answer))


def _odd(answer: dict[str, Any]) -> bool:
    """Whether the probe did not fare as policies and routers say; not, where that is not known."""
    return answer["probe"] is not None and answer["arrived"] not in (None, answer["allowed"])


def _sent(answer: dict[str, Any]) -> Iterator[str]:
    """What became of the probe."""
    probe = answer["probe"]
    if probe is None:
        return
    yield ""
    yield f"probe: {probe['words']}" + (f", after {probe['milliseconds']:g} ms" if probe["heard"] else "")
    machine = None
    for hop in answer["hops"]:
        if hop["machine"] != machine:
            machine = hop["machine"]
            yield f"machine {machine}:"
        seen = "?" if hop["seen"] is None else "seen" if hop["seen"] else "-"
        yield f"  {seen:4}  {hop['words']}"
    yield from answer["notes"]
    if not probe["heard"]:
        yield f"last seen: {answer['last'] or 'nowhere'}"
        if answer["missing"]:
            yield f"not seen:  {answer['missing']}"
    if _odd(answer):
        yield "this is not what policies and routers say"
