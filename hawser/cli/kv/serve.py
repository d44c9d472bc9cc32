"""`kv serve`: a directory's store as a server of etcd's protocol, in the foreground."""

import asyncio
import contextlib
import os
import re
import signal
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ...faults import Fault
from .signing import tokens
from .spans import seconds
from .where import first

if TYPE_CHECKING:
    from hawser.store.etcd.server import Served, Tls

LISTEN = "127.0.0.1:2379"
QUOTA = 2 * 1024**3
UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
PORTS = 65535


class Bytes(click.ParamType):  # type: ignore[type-arg]  # generic only in newer releases
    """A size: bytes, or with K, M, G, T."""

    name = "SIZE"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        found = re.fullmatch(r"(\d+)([kmgt]?)(?:i?b)?", value.strip().lower())
        if not found:
            self.fail(f"{value!r} is no size; write bytes, or a number with K, M, G or T", param, ctx)
        return int(found[1]) * UNITS[found[2]]


def retention(mode: str, text: str) -> tuple[int | None, float | None]:
    """etcd's --auto-compaction-mode and -retention as revisions and seconds to keep; "0" keeps all. UsageError."""
    wrong = click.BadParameter(
        f"{text!r} is no retention; write a number of revisions (mode revision), of hours, or 1h30m (periodic)",
        click.get_current_context(silent=True),
        param_hint="'--auto-compaction-retention'",
    )
    if mode == "revision":
        if not text.isdecimal():
            raise wrong
        return int(text) or None, None
    kept = seconds(f"{text}h" if text.isdecimal() else text)
    if kept is None:
        raise wrong
    return None, kept or None


@click.command()
@click.option("--data-dir", type=click.Path(file_okay=False), required=True, help="Where the store is; made if absent.")
@click.option("--listen", multiple=True, metavar="HOST:PORT|unix:PATH", help=f"May be repeated; {LISTEN} by default.")
@click.option("--cert", type=click.Path(exists=True, dir_okay=False), help="The server's certificate, PEM.")
@click.option("--key", type=click.Path(exists=True, dir_okay=False), help="The key of that certificate.")
@click.option(
    "--client-ca", type=click.Path(exists=True, dir_okay=False), help="Clients must show a certificate of this CA."
)
@click.option("--quota", type=Bytes(), default=QUOTA, help="How large the store may grow; 2G by default, 0: no limit.")
@click.option("--auto-compaction-mode", type=click.Choice(["periodic", "revision"]), default="periodic")
@click.option("--auto-compaction-retention", default="0", help="As etcd's: 1h, 30m, or revisions; 0: keep all.")
@click.option("--auth-token", default="simple", help="As etcd's: simple, or jwt,sign-method=…,priv-key=FILE,….")
@click.option("--name", default="default", help="What the member list calls it.")
def serve(listen: tuple[str, ...], cert: str | None, key: str | None, client_ca: str | None, **options: Any) -> int:
    """Serve a directory's store in etcd's protocol, in the foreground, until SIGTERM or SIGINT.

    SIGHUP reads the certificate's files again. Any client of etcd works with it: etcdctl --endpoints HOST:PORT, hawser
    kv --endpoints http://HOST:PORT. With --client-ca and authentication on, a certificate's common name says who its
    client is.
    """
    keep, age = retention(options.pop("auto_compaction_mode"), options.pop("auto_compaction_retention"))
    tls = _tls(cert, key, client_ca)
    options["tokens"] = tokens(options.pop("auth_token"))
    addresses = [_address(each) for each in listen or (LISTEN,)]
    work = _serve(Path(options["data_dir"]), addresses, tls, keep, age, options)
    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(work)
    except BaseExceptionGroup as group:
        raise first(group) from group
    return 0


def _loop_factory() -> Any:
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


def _address(text: str) -> str:
    """An address as the server has it."""
    if text.startswith("unix:"):
        return f"unix:{os.path.abspath(text.removeprefix('unix:').removeprefix('//'))}"
    plain = text.removeprefix("http://").removeprefix("https://")
    found = re.fullmatch(r"(?:\[[0-9a-fA-F:.%\w]+\]|[^:/\[\]]+):(\d{1,5})", plain)
    if not found or int(found[1]) > PORTS:
        raise click.BadParameter(
            f"{text!r} is no address; write HOST:PORT, [IPV6]:PORT or unix:PATH", param_hint="'--listen'"
        )
    return plain


def _tls(cert: str | None, key: str | None, client_ca: str | None) -> "Tls | None":
    if not (cert or key or client_ca):
        return None
    if not cert or not key:
        raise click.UsageError("TLS needs the server's certificate and its key: give --cert and --key")
    from hawser.store.etcd.server import Tls

    return Tls(certificate=Path(cert), key=Path(key), authority=Path(client_ca) if client_ca else None)


async def _serve(
    directory: Path, listen: list[str], tls: "Tls | None", keep: int | None, age: float | None, options: dict[str, Any]
) -> None:
    from hawser.store.embedded.drivers.sqlite import SqliteEngine
    from hawser.store.etcd.server import Settings, serving

    from ...serve import notify

    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    engine = await SqliteEngine.open(directory, keep=keep, age=age, quota=options["quota"] or None)
    made = list[Path]()
    try:
        _make_way(listen)
        certificates = tls is not None and tls.authority is not None
        urls = _urls(listen, tls)
        settings = Settings(name=options["name"], urls=urls, tokens=options["tokens"], certificates=certificates)
        async with serving(engine, listen, tls=tls, settings=settings) as served:
            made += _sockets(listen)
            shown = f"{directory} at revision {engine.revision}, on {', '.join(served.addresses)}"
            print(f"hawser: kv serve: {shown}", file=sys.stderr, flush=True)
            loop.add_signal_handler(signal.SIGHUP, _reload, served)
            notify("READY=1")
            await ended.wait()
            notify("STOPPING=1")
    finally:
        await engine.close()
        for path in made:
            path.unlink(missing_ok=True)


def _reload(served: "Served") -> None:
    """Take the certificate as it is in its files now; a broken one changes nothing."""
    try:
        served.reload()
    except OSError as error:  # ssl.SSLError too
        print(
            f"hawser: kv serve: the certificate is not taken: {error}; the old one stays", file=sys.stderr, flush=True
        )


def _sockets(listen: list[str]) -> list[Path]:
    return [Path(address.removeprefix("unix:")) for address in listen if address.startswith("unix:")]


def _make_way(listen: list[str]) -> None:
    """Remove the sockets that a killed server left. Fault when somebody answers there, or when it is no socket."""
    for path in _sockets(listen):
        if not path.exists():
            continue
        if not path.is_socket():
            raise Fault(f"{path} is there and no socket; choose another path for --listen", "conflict")
        with socket.socket(socket.AF_UNIX) as probe, contextlib.suppress(OSError):
            probe.connect(str(path))
            raise Fault(f"another server listens on {path}; stop it, or choose another path", "conflict")
        path.unlink(missing_ok=True)


def _urls(listen: list[str], tls: "Tls | None") -> tuple[str, ...]:
    scheme = "https" if tls else "http"
    return tuple(
        address.replace("unix:", "unix://") if address.startswith("unix:") else f"{scheme}://{address}"
        for address in listen
        if not address.endswith(":0")
    )
