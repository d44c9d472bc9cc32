"""One node process, through its command line and its API: what a user of Docker, etcd and fleet expects."""

import itertools
import json
import os
import signal
import socket
import subprocess
from pathlib import Path

import pytest

from hawser.demo import probes
from hawser.faults import Fault
from tests.hawser.conftest import HAWSER, NodeProcess
from tests.wait import until

pytestmark = pytest.mark.root

WEB = """
[Service]
ExecStart=/bin/httpd -f -p 80 -h /www
Restart=always
[X-Container]
Image=busybox
Tenant=blue
Publish=808%i:80
[X-Announce]
Service=web
Port=80
Check=http:/
Interval=0.1
"""
SLEEP = ("/bin/sleep", "1000000")


def pid_of(node: NodeProcess, name: str) -> int:
    """The process of a container; 0 while there is none."""
    try:
        return int(node.client.get(f"/v1/containers/{name}")["pid"] or 0)
    except Fault:
        return 0


def test_run_prints_what_the_program_prints_and_ends_as_it_ends(clean: NodeProcess) -> None:
    outcome = clean.hawser("run", "--rm", "busybox", "/bin/sh", "-c", "echo out; echo err >&2; exit 3")
    assert (outcome.code, outcome.out, outcome.err) == (3, "out\n", "err\n")
    assert clean.hawser("ps", "-a", "-q").out.strip() == ""


def attached(node: NodeProcess, script: str, *options: str) -> "subprocess.Popen[str]":
    """`hawser run` of a shell script that says when it is ready."""
    command = [HAWSER, "run", "--rm", *options, "busybox", "/bin/sh", "-c", script]
    environment = os.environ | {"HAWSER_SOCKET": str(node.socket)}
    run = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    assert run.stdout is not None
    assert run.stdout.readline() == "ready\n"
    return run


def interrupt(run: "subprocess.Popen[str]") -> bool:
    run.send_signal(signal.SIGINT)
    return False


def test_run_passes_a_signal_on(clean: NodeProcess) -> None:
    with attached(clean, "trap 'exit 5' INT; echo ready; while :; do sleep 0.05; done") as run:
        run.send_signal(signal.SIGINT)
        assert run.wait(10) == 5
    assert clean.hawser("ps", "-a", "-q").out.strip() == ""


def test_a_signal_that_the_program_would_never_see_ends_it(clean: NodeProcess) -> None:
    with attached(clean, "echo ready; exec sleep 1000000") as run:
        run.send_signal(signal.SIGTERM)
        assert run.wait(10) == 137


def test_a_second_signal_stops_what_ignores_the_first(clean: NodeProcess) -> None:
    with attached(clean, "trap '' INT; echo ready; while :; do sleep 0.05; done", "--name", "c") as run:
        # two signals of one number may count as one, so they are sent until the container has ended
        until(lambda: pid_of(clean, "c") == 0 or interrupt(run), timeout=10, what="its end")
        assert run.wait(10) == 137


def test_a_run_whose_caller_is_killed_goes_when_it_ends(clean: NodeProcess) -> None:
    with attached(clean, "echo ready; sleep 1000000", "--name", "c") as run:
        run.kill()
    assert clean.client.get("/v1/containers/c")["state"] == "running"
    clean.hawser("kill", "c")
    until(lambda: clean.hawser("ps", "-a", "-q").out.strip() == "", what="the container gone")


def test_a_misspelt_option_is_no_argument(node: NodeProcess) -> None:
    for arguments in (("run", "--memroy", "64M", "busybox", "/bin/true"), ("exec", "--usr", "0", "c", "/bin/true")):
        outcome = node.hawser(*arguments)
        assert outcome.code == 2
        assert "no such option" in outcome.err.lower()


def test_a_container_lives_through_its_verbs(clean: NodeProcess) -> None:
    assert clean.hawser("run", "-d", "--name", "c", "-e", "A=b", "busybox", *SLEEP).code == 0
    row = json.loads(clean.hawser("ps", "--json").out)[0]
    assert (row["name"], row["state"], row["image"]) == ("c", "running", "busybox")
    assert clean.hawser("exec", "c", "/bin/sh", "-c", "echo $A; exit 4").code == 4
    assert clean.hawser("stop", "--time", "0.1", "c").code == 0
    assert clean.hawser("ps", "-q").out.strip() == ""
    assert "exited(137)" in clean.hawser("ps", "-a").out
    assert clean.hawser("start", "c").code == 0
    assert clean.hawser("kill", "-s", "TERM", "c").code == 0
    assert clean.hawser("rm", "c").code in (0, 4)
    assert clean.hawser("rm", "-f", "c").code in (0, 3)
    assert clean.hawser("show", "c").code == 3


def test_a_container_that_goes_by_itself_goes(clean: NodeProcess) -> None:
    assert clean.hawser("run", "-d", "--rm", "busybox", "/bin/true").code == 0
    until(lambda: clean.hawser("ps", "-a", "-q").out.strip() == "", what="the container gone")
    assert clean.client.get("/v1/plan") == []


def test_a_container_is_on_the_default_network_of_its_tenant(clean: NodeProcess) -> None:
    clean.hawser("run", "-d", "-t", "blue", "--name", "c", "busybox", *SLEEP)
    network = clean.client.get("/v1/networks/blue/default")
    assert [port["name"] for port in network["ports"]] == ["c"]
    resolv = clean.hawser("exec", "c", "/bin/cat", "/etc/resolv.conf").out
    assert f"nameserver {network['gateways'][0]}\n" in resolv
    assert "search blue.mesh.internal\n" in resolv
    assert clean.hawser("net", "rm", "-t", "blue", "default").code == 4


def test_containers_of_a_tenant_find_each_other_by_name(clean: NodeProcess) -> None:
    for tenant, name in (("blue", "one"), ("blue", "two"), ("green", "three")):
        clean.hawser("run", "-d", "-t", tenant, "--name", name, "busybox", "/bin/httpd", "-f", "-p", "80", "-h", "/www")
    fetch = ("/bin/wget", "-q", "-O", "-")
    until(lambda: clean.hawser("exec", "one", *fetch, "http://two/").out == "ahoy\n", what="the page by its name")
    assert clean.hawser("exec", "one", *fetch, "http://three/").code == 1
    clean.hawser("kill", "two")
    until(lambda: clean.hawser("exec", "one", *fetch, "http://two/").code == 1, what="the name gone")


@pytest.mark.parametrize("kind", ["bridge", "ovs"])
def test_names_lead_only_where_the_network_leads(clean: NodeProcess, kind: str) -> None:
    for network in ("front", "back"):
        clean.hawser("net", "create", "--kind", kind, network)
    clean.hawser("run", "-d", "--net", "front", "--name", "one", "busybox", *SLEEP)
    clean.hawser("run", "-d", "--net", "back", "--name", "two", "busybox", *SLEEP)
    one, two = (clean.client.get(f"/v1/containers/{name}")["interfaces"][0] for name in ("one", "two"))
    sandboxes = {name: Path(clean.client.get(f"/v1/containers/{name}")["netns"]) for name in ("one", "two")}
    name = "two.default.mesh.internal"
    until(lambda: probes.resolve(sandboxes["two"], two["gateways"][0], name) == (0, 1), what="its name")
    assert probes.resolve(sandboxes["one"], one["gateways"][0], name) == (0, 0)
    clean.hawser("net", "attach", "one", "back")
    assert probes.resolve(sandboxes["one"], two["gateways"][0], name) == (0, 1)
    assert probes.resolve(sandboxes["two"], two["gateways"][0], "one.default.mesh.internal") == (0, 1)
    clean.hawser("net", "detach", "one", "eth1")
    assert probes.resolve(sandboxes["two"], two["gateways"][0], "one.default.mesh.internal") == (0, 0)


@pytest.mark.parametrize(("front", "back"), [*itertools.product(["bridge", "ovs"], repeat=2)])
def test_a_policy_by_labels_decides_between_containers_of_joined_networks(
    clean: NodeProcess, front: str, back: str
) -> None:
    """From the command line alone, whatever moves the packets; `--label` is what policies know a container by."""
    for network, kind in (("front", front), ("back", back)):
        assert clean.hawser("net", "create", "--kind", kind, network).code == 0
    httpd = ("/bin/httpd", "-f", "-p", "80", "-h", "/www")
    made = clean.hawser("run", "-d", "--net", "back", "--name", "db", "-l", "app=db", "busybox", *httpd)
    assert made.code == 0, made.err
    made = clean.hawser("run", "-d", "--net", "front", "--name", "web", "-l", "app=web", "busybox", *SLEEP)
    assert made.code == 0, made.err
    clean.hawser("run", "-d", "--net", "front", "--name", "other", "busybox", *SLEEP)
    db = clean.client.get("/v1/containers/db")["interfaces"][0]["addresses"][0].split("/")[0]
    inside = {name: Path(clean.client.get(f"/v1/containers/{name}")["netns"]) for name in ("web", "other")}
    assert not probes.reaches(inside["web"], db, 80), "no router, no way"
    assert clean.hawser("policy", "explain", "web", "db", "80").out.splitlines()[-1].startswith("DENIED")
    assert clean.hawser("net", "router", "create", "--network", "front", "--network", "back", "core").code == 0
    until(lambda: all(probes.reaches(each, db, 80) for each in inside.values()), what="the way")
    made = clean.hawser("policy", "allow", "--to", "label=app=db", "--from", "label=app=web", "--proto", "tcp")
    assert made.code == 0, made.err
    until(lambda: not probes.reaches(inside["other"], db, 80), what="the policy")
    assert probes.reaches(inside["web"], db, 80)
    assert clean.hawser("policy", "explain", "web", "db", "80").out.splitlines()[-1].startswith("ALLOWED")
    assert clean.hawser("policy", "explain", "other", "db", "80").out.splitlines()[-1].startswith("DENIED")
    assert clean.client.get("/v1/plan") == []
    refused = clean.hawser("net", "rm", "front")
    assert (refused.code, len(refused.err.splitlines())) == (4, 1)
    assert clean.hawser("policy", "rm", made.out.strip()).code == 0
    assert clean.hawser("net", "router", "rm", "core").code == 0


def test_a_published_port_answers_and_cannot_be_published_twice(clean: NodeProcess) -> None:
    httpd = ("/bin/httpd", "-f", "-p", "80", "-h", "/www")
    assert clean.hawser("run", "-d", "--name", "a", "-p", "8088:80", "busybox", *httpd).code == 0
    until(lambda: probes.http(None, "127.0.0.1", 8088) == "ahoy\n", what="the page")
    outcome = clean.hawser("run", "-d", "--name", "b", "-p", "8088:80", "busybox", *httpd)
    assert outcome.code == 4
    assert "8088" in outcome.err
    assert len(outcome.err.splitlines()) == 1
    assert len(json.loads(clean.hawser("ps", "-a", "--json").out)) == 1


def test_a_port_that_a_process_of_the_host_has_is_refused(clean: NodeProcess) -> None:
    with socket.create_server(("0.0.0.0", 8089)):
        outcome = clean.hawser("run", "-d", "-p", "8089:80", "busybox", *SLEEP)
    assert outcome.code == 4
    assert clean.client.get("/v1/containers", all=1) == []
    assert clean.client.get("/v1/plan") == []


@pytest.mark.parametrize(
    ("arguments", "code", "word"),
    [
        (("run", "nothing", "/bin/true"), 3, "image"),
        (("run", "busybox", "/bin/nothing"), 127, "nothing"),
        (("run", "busybox", "/etc/passwd"), 126, "passwd"),
        (("run", "--net", "nowhere", "busybox", "/bin/true"), 3, "nowhere"),
        (("run", "--ip", "10.99.0.1", "busybox", "/bin/true"), 2, "10.99.0.1"),
        (("run", "-m", "1k", "busybox", "/bin/true"), 2, "memory"),
        (("run", "-m", "lots", "busybox", "/bin/true"), 2, "size"),
        (("run", "-u", "somebody", "busybox", "/bin/true"), 2, "somebody"),
        (("run", "-v", "/no/such:/x", "busybox", "/bin/true"), 2, "/no/such"),
        (("run", "--net", "none", "-p", "1:1", "busybox", "/bin/true"), 2, "network"),
        (("run", "--name", "../x", "busybox", "/bin/true"), 2, "name"),
        (("net", "create", "--subnet", "10.0.0.0/33", "x"), 2, "10.0.0.0/33"),
        (("net", "create", "--subnet", "10.0.0.0/24", "--subnet", "10.0.0.0/25", "x"), 2, "overlap"),
        (("net", "create", "X" * 70), 2, "name"),
        (("net", "show", "nowhere"), 3, "nowhere"),
        (("exec", "nothing", "true"), 3, "nothing"),
        (("kill", "-s", "NOPE", "nothing"), 3, "nothing"),
        (("image", "rm", "nothing"), 3, "nothing"),
        (("kv", "lease", "revoke", "99"), 3, "lease"),
        (("kv", "get", "/nothing"), 3, "/nothing"),
        (("kv", "put", "/hawser/netd/x", "y"), 6, "/hawser/"),
        (("kv", "del", "--prefix", "/"), 6, "/hawser/"),
        (("unit", "start", "nothing.service"), 3, "nothing.service"),
        (("unit", "cat", "nothing.service"), 3, "nothing.service"),
        (("svc", "show", "nothing"), 3, "nothing"),
        (("svc", "announce", "--address", "nowhere", "web", "80"), 2, "nowhere"),
        (("svc", "announce", "--address", "10.0.0.1", "--check", "smell", "web", "80"), 2, "smell"),
        (("svc", "withdraw", "web", "nothing"), 3, "nothing"),
    ],
)
def test_a_mistake_is_one_clear_line_and_leaves_nothing(
    arguments: tuple[str, ...], code: int, word: str, node: NodeProcess
) -> None:
    outcome = node.hawser(*arguments)
    assert (outcome.code, outcome.out) == (code, ""), outcome
    assert len(outcome.err.splitlines()) == 1
    assert word in outcome.err
    assert node.client.get("/v1/containers", all=1) == []
    assert node.client.get("/v1/plan") == []


def test_the_shell_is_offered_the_names_there_are(clean: NodeProcess) -> None:
    clean.hawser("run", "-d", "--name", "ready", "busybox", *SLEEP)
    for words, name in (("exec re", "ready"), ("run bu", "busybox"), ("net show de", "default")):
        environment = {
            "_HAWSER_COMPLETE": "bash_complete",
            "COMP_WORDS": f"hawser {words}",
            "COMP_CWORD": str(len(words.split())),
            "HAWSER_SOCKET": str(clean.socket),
        }
        answer = subprocess.run([HAWSER], env=environment, capture_output=True, text=True, check=False)
        assert f"plain,{name}\n" in answer.stdout


def test_a_unit_with_an_unknown_key_is_refused_whole(clean: NodeProcess, tmp_path: Path) -> None:
    file = tmp_path / "web.service"
    file.write_text("[Service]\nExecStart=/bin/true\nExecStrat=/bin/false\n")
    outcome = clean.hawser("unit", "start", str(file))
    assert outcome.code == 2
    assert "ExecStrat" in outcome.err
    assert "3" in outcome.err
    assert clean.client.get("/v1/units") == []


def test_a_tarball_that_climbs_out_is_refused(node: NodeProcess, tmp_path: Path) -> None:
    import io
    import tarfile

    tarball = tmp_path / "evil.tar"
    with tarfile.open(tarball, "w") as tar:
        tar.addfile(tarfile.TarInfo("../evil"), io.BytesIO())
    outcome = node.hawser("image", "import", str(tarball), "evil")
    assert (outcome.code, len(outcome.err.splitlines())) == (2, 1)
    assert "climbs" in outcome.err
    assert [image["name"] for image in node.client.get("/v1/images")] == ["busybox"]


def test_units_are_run_announced_found_and_brought_back(clean: NodeProcess, tmp_path: Path) -> None:
    for number in (1, 2):
        (tmp_path / f"web@{number}.service").write_text(WEB)
        assert clean.hawser("unit", "start", "--wait", str(tmp_path / f"web@{number}.service")).code == 0
    until(lambda: sum(r["healthy"] for r in clean.client.get("/v1/services")) == 2, what="two healthy instances")
    addresses = clean.hawser("svc", "resolve", "-t", "blue", "web").out
    assert len(addresses.splitlines()) >= 3
    assert clean.hawser("exec", "web@1.service", "/bin/wget", "-q", "-O", "-", "http://web/").out == "ahoy\n"
    os.kill(pid := pid_of(clean, "web@1.service"), signal.SIGKILL)
    until(lambda: pid_of(clean, "web@1.service") not in (0, pid), what="its return")
    until(lambda: clean.state("web@1.service") == "active", what="its state")
    until(lambda: probes.http(None, "127.0.0.1", 8081) == "ahoy\n", what="its page")
    assert clean.hawser("svc", "resolve", "-t", "blue", "nothing").code == 3
    assert clean.hawser("unit", "stop", "--wait", "web@2.service").code == 0
    until(lambda: len(clean.client.get("/v1/services")) == 1, what="one instance")
    until(lambda: clean.client.get("/v1/plan") == [], what="an empty plan")


def test_an_instance_is_started_from_the_template_beside_it(clean: NodeProcess, tmp_path: Path) -> None:
    (tmp_path / "nap@.service").write_text("[Service]\nExecStart=/bin/sleep 100000%i\n")
    assert clean.hawser("unit", "start", "--wait", str(tmp_path / "nap@7.service")).code == 0
    assert clean.client.get("/v1/containers/nap@7.service")["argv"] == ["/bin/sleep", "1000007"]
    outcome = clean.hawser("unit", "start", str(tmp_path / "nap@.service"))
    assert (outcome.code, outcome.out) == (2, "")
    assert "nap@1.service" in outcome.err


def test_a_service_without_a_healthy_instance_says_why(clean: NodeProcess) -> None:
    clean.hawser("svc", "announce", "--address", "127.0.0.9", "--interval", "0.1", "web", "9")
    outcome = clean.hawser("svc", "resolve", "web")
    assert (outcome.code, outcome.out) == (3, "")
    assert "healthy" in outcome.err


def test_a_unit_without_a_container_is_a_process_of_the_machine(clean: NodeProcess, tmp_path: Path) -> None:
    file = tmp_path / "host.service"
    file.write_text(f"[Service]\nExecStartPre=/bin/touch {tmp_path}/pre\nExecStart=/bin/sleep 1000000\n")
    assert clean.hawser("unit", "start", "--wait", str(file)).code == 0
    assert (tmp_path / "pre").exists()
    pid = pid_of(clean, "host.service")
    assert Path(f"/proc/{pid}/root").readlink() == Path("/")
    assert clean.hawser("unit", "destroy", "host.service").code == 0
    until(lambda: not Path(f"/proc/{pid}").exists(), what="its end")


def test_a_second_node_on_the_same_data_is_told_so(node: NodeProcess) -> None:
    answer = subprocess.run(node.command(), capture_output=True, text=True, timeout=20, check=False)
    assert answer.returncode == 4
    assert len(answer.stderr.splitlines()) == 1
    assert str(node.process.pid if node.process else "") in answer.stderr


def test_the_store_by_hand(node: NodeProcess) -> None:
    assert node.hawser("kv", "put", "/a", "one").code == 0
    assert node.hawser("kv", "put", "/b", stdin=b"two").code == 0
    assert node.hawser("kv", "get", "/a").out == "one\n"
    assert node.hawser("kv", "get", "--prefix", "--keys-only", "/").out.split()[:2] == ["/a", "/b"]
    lease = node.hawser("kv", "lease", "grant", "60").out.strip()
    node.hawser("kv", "put", "--lease", lease, "/c", "three")
    assert node.hawser("kv", "lease", "revoke", lease).code == 0
    assert node.hawser("kv", "get", "/c").code == 3
    assert node.hawser("kv", "del", "--prefix", "/a").out == "1\n"
    assert node.hawser("kv", "del", "/a").code == 3
    node.hawser("kv", "del", "/b")


def test_a_watch_prints_changes_as_they_happen(node: NodeProcess) -> None:
    environment = os.environ | {"HAWSER_SOCKET": str(node.socket)}
    before = node.put_key("/w/0")
    command = [HAWSER, "kv", "watch", "--prefix", "--rev", str(before), "/w/"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as watch:
        assert watch.stdout is not None
        assert watch.stdout.readline() == "PUT /w/0\n"
        node.hawser("kv", "put", "/w/1", "x")
        assert watch.stdout.readline() == "PUT /w/1 x\n"
        node.hawser("kv", "del", "--prefix", "/w/")
        assert watch.stdout.readline() == "DELETE /w/0\n"
        watch.terminate()
