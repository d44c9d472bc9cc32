"""`hawser run` and the network: reserved ports, links to other containers, the machine's own network."""

import json
import os
import socket
from pathlib import Path

import pytest

from hawser.demo import probes
from tests.hawser.conftest import NodeProcess
from tests.wait import until

pytestmark = pytest.mark.root

SLEEP = ("/bin/sleep", "1000000")


def find_attachment(node: NodeProcess) -> dict[str, object]:
    found: list[dict[str, object]] = node.client.get("/v1/attachments")
    return found[0]


def run(node: NodeProcess, *arguments: str) -> str:
    made = node.hawser("run", "-d", *arguments)
    assert made.code == 0, made.err
    return made.out.strip()


def interfaces(node: NodeProcess, name: str) -> list[dict[str, object]]:
    found: list[dict[str, object]] = node.client.get(f"/v1/containers/{name}")["interfaces"]
    return found


def in_container(node: NodeProcess, name: str, script: str) -> str:
    outcome = node.hawser("exec", name, "/bin/sh", "-c", script)
    assert outcome.code == 0, outcome.err
    return outcome.out


def test_a_container_takes_a_reserved_port(clean: NodeProcess) -> None:
    clean.hawser("net", "create", "--subnet", "10.5.0.0/24", "db")
    made = clean.hawser(
        "net", "port", "create", "--network", "db", "--ip", "10.5.0.77", "--mac", "02:00:00:00:00:05", "kept"
    )
    assert made.code == 0, made.err
    run(clean, "--name", "a", "--reserved", "kept", "busybox", *SLEEP)
    (interface,) = interfaces(clean, "a")
    assert (interface["network"], interface["mac"]) == ("db", "02:00:00:00:00:05")
    assert interface["addresses"] == ["10.5.0.77/24"]
    taken = clean.hawser("run", "-d", "--reserved", "kept", "busybox", *SLEEP)
    assert (taken.code, len(taken.err.splitlines())) == (4, 1)
    assert json.loads(clean.hawser("net", "port", "ls", "--json").out)[0]["used_by"]
    clean.hawser("rm", "-f", "a")
    run(clean, "--name", "b", "--reserved", "kept", "--net", "db", "busybox", *SLEEP)
    assert interfaces(clean, "b")[0]["addresses"] == ["10.5.0.77/24"]
    document = "{kind: port, name: kept, network: db, addresses: [10.5.0.77], mac: 02:00:00:00:00:05, labels: {a: b}}"
    changed = clean.hawser("apply", "-f", "-", stdin=document.encode())
    assert changed.code == 0, changed.err
    (port,) = clean.client.get("/v1/networks/default/db")["ports"]
    assert port["name"] == "b", "it is called as before"
    until(lambda: find_attachment(clean)["labels"] == {"a": "b"}, what="the reservation's new labels")
    assert find_attachment(clean)["name"] == "b"
    clean.hawser("rm", "-f", "b")
    assert clean.client.get("/v1/networks")[0]["name"] == "db", "no default network was made on the way"
    for options, code in ((("--ip", "10.5.0.8"), 2), (("--net", "other"), 2), (("--net", "host"), 2)):
        refused = clean.hawser("run", "-d", "--reserved", "kept", *options, "busybox", *SLEEP)
        assert (refused.code, len(refused.err.splitlines())) == (code, 1), refused
    assert clean.hawser("run", "-d", "--reserved", "nosuch", "busybox", *SLEEP).code == 3
    assert clean.client.get("/v1/containers", all=1) == []
    assert clean.hawser("net", "port", "rm", "kept").code == 0


def test_the_host_s_network_is_the_container_s(clean: NodeProcess) -> None:
    before = Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text()
    made = run(clean, "--name", "h", "--net", "host", "busybox", "/bin/httpd", "-f", "-p", "8123", "-h", "/www")
    pid = clean.client.get("/v1/containers/h")["pid"]
    assert os.path.samefile(f"/proc/{pid}/ns/net", "/proc/self/ns/net")
    until(lambda: answers(8123), what="the page on the host's own port")
    assert in_container(clean, "h", "cat /etc/hosts") == Path("/etc/hosts").read_text()
    assert Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text() == before
    shown = clean.client.get("/v1/containers/h")
    assert (shown["host_network"], shown["interfaces"], shown["addresses"]) == (True, [], [])
    assert clean.client.get("/v1/networks") == []
    assert clean.client.get("/v1/plan") == []
    refused = clean.hawser("net", "attach", "h", "default")
    assert (refused.code, len(refused.err.splitlines())) == (4, 1)
    assert clean.hawser("rm", "-f", made).code == 0


def answers(port: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.parametrize("option", [("-p", "8080:80"), ("--ip", "10.0.0.5"), ("--link", "c"), ("--reserved", "x")])
@pytest.mark.parametrize("network", ["host", "none"])
def test_what_needs_a_port_is_refused_without_one(clean: NodeProcess, network: str, option: tuple[str, str]) -> None:
    refused = clean.hawser("run", "-d", "--net", network, *option, "busybox", *SLEEP)
    assert (refused.code, len(refused.err.splitlines())) == (2, 1)
    assert f"--net {network}" in refused.err
    assert clean.client.get("/v1/containers", all=1) == []


def test_a_unit_on_the_host_s_network(clean: NodeProcess) -> None:
    unit = "[Service]\nExecStart=/bin/sleep 1000000\n[X-Container]\nImage=busybox\nNetwork=host\n"
    refused = clean.hawser("unit", "submit", "-", stdin=f"{unit}Publish=80:80\n".encode())
    assert refused.code != 0
    clean.client.put("/v1/units/h.service", {"text": unit})
    clean.client.post("/v1/units/h.service/start")
    until(lambda: clean.state("h.service") == "active", what="the unit")
    (found,) = clean.client.get("/v1/containers")
    pid = clean.client.get(f"/v1/containers/{found['id']}")["pid"]
    assert os.path.samefile(f"/proc/{pid}/ns/net", "/proc/self/ns/net")


def test_a_link_tells_of_another_container(clean: NodeProcess) -> None:
    run(clean, "--name", "db", "-e", "PASSWORD=secret", "-p", "8099:5432", "--expose", "53/udp", "busybox", *SLEEP)
    address = str(interfaces(clean, "db")[0]["addresses"][0]).split("/")[0]  # type: ignore[index]
    run(clean, "--name", "web", "--link", "db:data-base", "-e", "DATA_BASE_ENV_OWN=1", "busybox", *SLEEP)
    said = dict(line.split("=", 1) for line in in_container(clean, "web", "busybox env").splitlines())
    assert said["DATA_BASE_NAME"] == "/web/data-base"
    assert said["DATA_BASE_PORT_5432_TCP"] == f"tcp://{address}:5432"
    assert said["DATA_BASE_PORT_5432_TCP_ADDR"] == address
    assert (said["DATA_BASE_PORT_5432_TCP_PORT"], said["DATA_BASE_PORT_5432_TCP_PROTO"]) == ("5432", "tcp")
    assert said["DATA_BASE_PORT_53_UDP"] == f"udp://{address}:53"
    assert (said["DATA_BASE_ENV_PASSWORD"], said["DATA_BASE_ENV_OWN"]) == ("secret", "1")
    assert f"{address}\tdata-base\tdb\n" in in_container(clean, "web", "cat /etc/hosts")
    assert "hawser." not in json.dumps(clean.client.get("/v1/networks/default/default"))


def test_a_link_follows_its_target(clean: NodeProcess) -> None:
    clean.hawser("net", "create", "--subnet", "10.5.0.0/24", "n")
    run(clean, "--net", "n", "--ip", "10.5.0.50", "--name", "db", "busybox", *SLEEP)
    run(clean, "--net", "n", "--name", "web", "--link", "db", "busybox", *SLEEP)
    in_container(clean, "web", "echo 192.0.2.1 mine >> /etc/hosts; echo '# end' >> /etc/hosts")
    clean.hawser("rm", "-f", "db")
    assert "10.5.0.50\tdb\n" in in_container(clean, "web", "cat /etc/hosts"), "as Docker has it: the last known"
    run(clean, "--net", "n", "--ip", "10.5.0.60", "--name", "db", "busybox", *SLEEP)
    until(lambda: "10.5.0.60\tdb\n" in in_container(clean, "web", "cat /etc/hosts"), what="the new address")
    text = in_container(clean, "web", "cat /etc/hosts")
    assert "10.5.0.50" not in text
    assert "192.0.2.1 mine\n# end\n" in text
    clean.kill()
    clean.start()
    clean.hawser("rm", "-f", "db")
    run(clean, "--net", "n", "--ip", "10.5.0.70", "--name", "db", "busybox", *SLEEP)
    until(lambda: "10.5.0.70\tdb\n" in in_container(clean, "web", "cat /etc/hosts"), what="it, by a new node process")


def test_a_link_opens_nothing(clean: NodeProcess) -> None:
    httpd = ("/bin/httpd", "-f", "-p", "80", "-h", "/www")
    clean.hawser("net", "create", "n")
    run(clean, "--net", "n", "--name", "db", "-l", "app=db", "busybox", *httpd)
    assert clean.hawser("policy", "allow", "--to", "label=app=db", "--from", "label=app=friend").code == 0
    run(clean, "--net", "n", "--name", "web", "--link", "db", "busybox", *SLEEP)
    run(clean, "--net", "n", "--name", "friend", "-l", "app=friend", "--link", "db", "busybox", *SLEEP)
    fetch = ("/bin/wget", "-q", "-O", "-", "http://db/")
    until(lambda: clean.hawser("exec", "friend", *fetch).out == "ahoy\n", what="the page, for whom it is allowed")
    address = str(interfaces(clean, "db")[0]["addresses"][0]).split("/")[0]  # type: ignore[index]
    inside = Path(clean.client.get("/v1/containers/web")["netns"])
    assert f"{address}\tdb\n" in in_container(clean, "web", "cat /etc/hosts")
    assert not probes.reaches(inside, address, 80)
    for policy in clean.client.get("/v1/policies"):
        clean.client.delete(f"/v1/policies/{policy['tenant']}/{policy['name']}")


def test_a_link_needs_what_it_leads_to(clean: NodeProcess) -> None:
    for network in ("one", "two"):
        clean.hawser("net", "create", network)
    run(clean, "--net", "one", "--name", "db", "busybox", *SLEEP)
    for options, code in (
        (("--net", "one", "--link", "nosuch"), 3),
        (("--net", "two", "--link", "db"), 4),
        (("-t", "green", "--link", "db"), 4),
        (("--net", "one", "--link", "db:"), 2),
        (("--net", "one", "--link", "db:x", "--link", "db:x"), 2),
        (("--net", "one", "--expose", "0"), 2),
    ):
        refused = clean.hawser("run", "-d", *options, "busybox", *SLEEP)
        assert (refused.code, len(refused.err.splitlines())) == (code, 1), refused
    clean.hawser("kill", "db")
    until(lambda: clean.client.get("/v1/containers/db")["state"] == "exited", what="its end")
    assert clean.hawser("run", "-d", "--net", "one", "--link", "db", "busybox", *SLEEP).code == 4
    assert len(clean.client.get("/v1/containers", all=1)) == 1
    assert clean.client.get("/v1/plan") == []


def test_names_of_networks_are_not_names_of_modes(clean: NodeProcess) -> None:
    """`none` and `host` mean something else to `run`: a network of that name could not be used."""
    for name in ("none", "host"):
        refused = clean.hawser("net", "create", name)
        assert (refused.code, len(refused.err.splitlines())) == (2, 1)
