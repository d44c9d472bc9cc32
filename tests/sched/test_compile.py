"""What unit files mean, and what is said of those that mean nothing."""

import shutil
import subprocess
from pathlib import Path

import pytest

from hawser.sched.compile import compile_unit, text_hash
from hawser.sched.errors import Invalid
from hawser.sched.model import Container, Exec, Publish, Restart, Service, Type, Volume, prepare
from hawser.sched.names import parse_name

FULL = """\
[Unit]
Description=Web %i of %p
Documentation=man:true(1)
After=db.service
Wants=network-online.target
StartLimitIntervalSec=1min
StartLimitBurst=3

[Service]
Type=exec
Environment=PORT=80 "GREETING=hello world"
EnvironmentFile=-/etc/web.env
ExecStartPre=-/bin/one
ExecStartPre=+/bin/two ; :/bin/three $X
ExecStart=/bin/web --port ${PORT} $GREETING --name=%n --percent %%
ExecStop=/bin/bye
Restart=on-failure
RestartSec=250ms
TimeoutSec=5
KillSignal=SIGINT
SuccessExitStatus=3 SIGKILL
RestartPreventExitStatus=7

[X-Fleet]
MachineMetadata=region=eu
Conflicts=web@*.service

[X-Container]
Image=web:1
Tenant=blue
Publish=127.0.0.1:8080:80
Publish=53:53/udp
Volume=/srv:/srv:ro
Memory=64M
CPUs=1.5
Pids=32
ReadOnly=yes

[X-Announce]
Port=80
Check=http:/healthz
Label=version=1

[Install]
WantedBy=multi-user.target
"""


def service(*lines: str, name: str = "a.service", more: str = "") -> Service:
    return compile_unit(name, "[Service]\n" + "\n".join(lines) + "\n" + more)


def problem(*lines: str, more: str = "") -> str:
    with pytest.raises(Invalid) as caught:
        service(*lines, more=more)
    return str(caught.value)


def test_a_full_unit() -> None:
    web = compile_unit("web@1.service", FULL)
    assert (web.description, web.hash, web.type) == ("Web 1 of web", text_hash(FULL), Type.EXEC)
    assert web.exec_start_pre == (
        Exec(argv=("/bin/one",), ignore_failure=True),
        Exec(argv=("/bin/two",), host=True),
        Exec(argv=("/bin/three", "$X"), literal=True),
    )
    assert (web.start_limit_interval, web.start_limit_burst, web.restart_sec) == (60, 3, 0.25)
    assert (web.restart, web.timeout_start, web.timeout_stop, web.kill_signal) == (Restart.ON_FAILURE, 5, 5, 2)
    assert (set(web.success_codes), set(web.success_signals), set(web.restart_prevent_codes)) == ({0, 3}, {9}, {7})
    assert web.dependencies.after == ("db.service",)
    assert web.container is not None
    assert web.container.publish == (
        Publish(host_ip="127.0.0.1", host_port=8080, port=80),
        Publish(host_port=53, port=53, proto="udp"),
    )
    assert web.container.volumes == (Volume(source="/srv", target="/srv", read_only=True),)
    assert (web.container.memory, web.container.cpus, web.container.pids) == (64 << 20, 1.5, 32)
    assert web.announce is not None
    assert (web.announce.service, web.announce.check, web.announce.labels) == ("web", "http:/healthz", {"version": "1"})


def test_variables_are_replaced_when_it_is_about_to_run() -> None:
    ready = prepare(compile_unit("web@1.service", FULL), 0, {"PORT": "81"})
    assert ready.command.argv == (
        "/bin/web", "--port", "81", "hello", "world", "--name=web@1.service", "--percent", "%",
    )  # fmt: skip
    assert ready.environment == {"PORT": "81", "GREETING": "hello world"}


def test_defaults_are_those_of_systemd() -> None:
    plain = service("ExecStart=/bin/true")
    assert (plain.type, plain.restart, plain.restart_sec) == (Type.SIMPLE, Restart.NO, 0.1)
    assert (plain.timeout_start, plain.timeout_stop, plain.kill_signal) == (90, 90, 15)
    assert (plain.start_limit_interval, plain.start_limit_burst, set(plain.success_codes)) == (10, 5, {0})
    assert service("Type=oneshot", "ExecStart=a", "ExecStart=b").timeout_start == float("inf")
    assert service("ExecStart=a", "TimeoutStopSec=0").timeout_stop == float("inf")


def test_an_empty_assignment_takes_back_what_came_before() -> None:
    again = service("ExecStart=/bin/a", "ExecStart=", "ExecStart=/bin/b", "Environment=A=1", "Environment=", "User=x")
    assert (again.command.argv, again.environment, again.user) == (("/bin/b",), {}, "x")


def test_the_machine_fills_its_specifiers() -> None:
    text = "[Service]\nExecStart=/bin/a %H %m %i %p %N\n"
    assert compile_unit("a@x.service", text).command.argv[1:] == ("%H", "%m", "x", "a", "a@x")
    assert compile_unit("a@x.service", text, {"H": "host", "m": "id"}).command.argv[1:3] == ("host", "id")


def test_an_unknown_key_is_refused_with_line_key_and_the_nearest() -> None:
    assert problem("ExecStart=/bin/a", "ExecStrat=/bin/b") == (
        "a.service: line 3: unknown key ExecStrat= in [Service]; did you mean ExecStart=?"
    )


def test_every_problem_at_once() -> None:
    text = problem(
        "ExecStart=bin/a", "Restart=sometimes", "MemoryMax=1G", "WantedBy=x", "X-Own=ignored", "KillSignal=SIGFOO",
        more="[X-Container]\nPublish=x\n[X-Flet]\n[Socket]\n",
    )  # fmt: skip
    for part in (
        "line 2: [Service] ExecStart=: the program 'bin/a' is neither an absolute path nor a bare name",
        "line 3: [Service] Restart=: 'sometimes' is none of no, on-success",
        "line 4: MemoryMax= in [Service] is not acted on by this version; remove it",
        "line 5: unknown key WantedBy= in [Service]; it belongs in [Install]",
        "line 7: [Service] KillSignal=: 'SIGFOO' is no signal",
        "line 9: [X-Container] Publish=: 'x' is not [HOST_IP:]HOST:PORT[/tcp|udp]",
        "line 10: unknown section [X-Flet]; did you mean [X-Fleet]?",
        "line 11: unknown section [Socket]",
    ):
        assert part in text
    assert "X-Own" not in text
    assert "\n" not in text


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (["Type=oneshot"], "no ExecStart="),
        (["ExecStart=a", "ExecStart=b"], "only Type=oneshot may have more than one"),
        (["Type=oneshot", "ExecStart=a", "Restart=always"], "makes no sense with Type=oneshot"),
        (["ExecStart=a", "Type=notify"], "notify is not supported"),
        (["ExecStart=a", "Restart=on-watchdog"], "on-watchdog is not supported"),
        (["ExecStart=@a b"], "prefix @"),
        (["ExecStart=!a"], "prefix !"),
        (["ExecStart=$X"], "may not be a variable"),
        (["ExecStart=a 'b"], "never closed"),
        (["ExecStart=a %t"], "specifier %t"),
        (["ExecStart=a", "Environment=1=2"], "not VARIABLE=VALUE"),
        (["ExecStart=a", "EnvironmentFile=x"], "not absolute"),
        (["ExecStart=a", "RestartSec=soon"], "no time span"),
        (["ExecStart=a", "StartLimitBurst=x"], "no whole number"),
        (["ExecStart=a", "ExecReload=b"], "not acted on"),
        (["ExecStart=a", "KillMode=none"], "not supported"),
    ],
)
def test_refusals(lines: list[str], said: str) -> None:
    assert said in problem(*lines)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("[X-Container]\nMemory=1\n", "no Image="),
        ("[X-Container]\nImage=a\nVolume=/a\n", "not SRC:DST[:ro]"),
        ("[X-Container]\nImage=a\nAddress=300.1.1.1\n", "no IP address"),
        ("[X-Container]\nImage=a\nAddress=fe80::1%%eth0\n", "has a scope id"),
        ("[X-Container]\nImage=a\nPublish=70000:80\n", "not between 1 and 65535"),
        ("[X-Container]\nImage=a\nPublish=0:80\n", "not between 1 and 65535"),
        ("[X-Container]\nImage=a\nPublish=[fe80::1%%eth0]:80:80\n", "has a scope id"),
        ("[X-Container]\nImage=a\nVolume=/a/../../etc:/b\n", "climbs"),
        ("[X-Container]\nImage=a\nVolume=/a:/b/..\n", "climbs"),
        ("[X-Announce]\nCheck=tcp\n", "no Port="),
        ("[X-Announce]\nPort=80\nCheck=https\n", "none of tcp"),
        ("[X-Fleet]\nGlobal=true\nMachineOf=b.service\n", "no sense with Global"),
        ("[X-Fleet]\nReplaces=a*\nConflicts=b*\n", "no sense with Conflicts"),
        ("[X-Fleet]\nMachineMetadata=a=b=c\n", "write key=value"),
        ("[X-Fleet]\nConflicts=[a\n", "never closed"),
    ],
)
def test_refusals_of_own_sections(more: str, said: str) -> None:
    assert said in problem("ExecStart=a", more=more)


def container(*lines: str) -> Container:
    text = "\n".join(("[Service]", "ExecStart=a", "[X-Container]", "Image=a", *lines, ""))
    found = compile_unit("a.service", text).container
    assert found is not None
    return found


@pytest.mark.parametrize("every", ["0.0.0.0:", "[::]:", "[::ffff:0.0.0.0]:", ""])
def test_every_address_of_the_host_has_one_form(every: str) -> None:
    assert container(f"Publish={every}8080:80").publish == (Publish(host_port=8080, port=80),)


def test_addresses_and_paths_have_one_form() -> None:
    found = container("Address=::ffff:10.0.0.1", "Address=FD00:0::1", "Volume=//srv//a/:/b/./c")
    assert found.addresses == ("10.0.0.1", "fd00::1")
    assert found.volumes == (Volume(source="/srv/a", target="/b/c"),)


def test_fleet_reads_its_section_in_its_own_way() -> None:
    text = (
        "[Service]\nExecStart=a\n[X-Fleet]\nMachineID=one\nMachineID=two\n"
        'MachineMetadata="a=1" "a=2"\nMachineMetadata=b=3\nMachineOf=db@%i.service\nX-Conflicts=x* y?.service\n'
        "Global=no\n"
    )
    fleet = compile_unit("web@7.service", text).fleet
    assert (fleet.machine_id, fleet.metadata) == ("one", {"a": ("1", "2"), "b": ("3",)})
    assert (fleet.machine_of, fleet.conflicts, fleet.is_global) == (("db@7.service",), ("x*", "y?.service"), False)


@pytest.mark.parametrize("name", ["web", ".service", "a b.service", "a/b.service", "a.timer", "@.service", "é.service"])
def test_names_that_are_none(name: str) -> None:
    with pytest.raises(Invalid):
        parse_name(name)


def test_names() -> None:
    assert parse_name("web@.service").is_template
    assert parse_name("web@a@b.service").instance == "a@b"
    assert parse_name("web@1.service").template == "web@.service"
    assert parse_name("x" * 247 + ".service").instance is None
    with pytest.raises(Invalid, match="256"):
        parse_name("x" * 248 + ".service")


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs Debian's package systemd as oracle")
@pytest.mark.parametrize(
    "lines",
    [
        ["ExecStart=/bin/true 'a b' \"c\\x20d\" $X ${Y} %%"],
        ["Type=oneshot", "ExecStart=/bin/true ; /bin/true \\; x", "RemainAfterExit=yes"],
        ["ExecStart=/bin/true \\", "# comment", "  more", "RestartSec=1min 2s"],
        ["ExecStart=-:/bin/true", "Environment='A=b c' D=e", "SuccessExitStatus=1 SIGKILL"],
        ["ExecStart=/bin/true 'a"],
        ["ExecStart=/bin/true \\q"],
        ["ExecStart=/bin/true", "Restrat=no"],
        ["ExecStart=/bin/true", "RestartSec=soon"],
        ["ExecStart=/bin/true", "Restart=never"],
        ["ExecStart=/bin/true", "ExecStart=/bin/true"],
        ["ExecStart=bin/true"],
        ["Type=oneshot", "ExecStart=/bin/true", "Restart=always"],
        ["ExecStart=/bin/true", "KillSignal=SIGFOO"],
    ],
)
def test_systemd_agrees(lines: list[str], rundir: Path) -> None:
    text = "[Service]\n" + "\n".join(lines) + "\n"
    path = rundir / "oracle.service"
    path.write_text(text)
    verify = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(path)], capture_output=True, text=True, timeout=30, check=False
    )
    complaints = [line for line in verify.stderr.splitlines() if "oracle.service" in line]
    try:
        compile_unit("oracle.service", text)
        refusal = ""
    except Invalid as error:
        refusal = str(error)
    assert bool(refusal) == bool(complaints), (refusal, complaints)
