"""podman, with its CNI back end, on a tenant's network: what an administrator sets up by docs/cni.md."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from hawser.demo import probes
from tests.hawser.conftest import NodeProcess, busybox
from tests.wait import until

RUNTIME = next((name for name in ("runc", "crun") if shutil.which(name)), None)
pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(
        not (shutil.which("podman") and shutil.which("conmon") and RUNTIME),
        reason="needs podman, conmon and runc or crun, which are not here",
    ),
]
OUTSIDE = ("/run/netns", "/run/runc", "/run/crun", "/var/lib/cni", "/var/lib/containers")  # made by every podman
SETUP = """
[containers]
default_ulimits = []
cgroupns = "host"
[engine]
cgroup_manager = "cgroupfs"
events_logger = "none"
conmon_path = ["{conmon}"]
runtime = "{name}"
[engine.runtimes]
{name} = ["{runtime}"]
[network]
network_backend = "cni"
cni_plugin_dirs = ["{directory}"]
network_config_dir = "{directory}"
default_network = "blueweb"
"""


@dataclass(frozen=True, slots=True)
class Podman:
    """podman with directories of its own."""

    directory: Path
    parent: str

    def __call__(self, *words: str, code: int = 0) -> str:
        places = [("--root", "root"), ("--runroot", "run"), ("--tmpdir", "tmp")]
        options = [word for option, name in places for word in (option, str(self.directory / name))]
        here = str(self.directory)
        own = {"CONTAINERS_CONF": f"{here}/containers.conf", "HOME": here, "XDG_RUNTIME_DIR": here, "TMPDIR": here}
        command = ["podman", *options, "--storage-driver", "vfs", *words]
        done = subprocess.run(command, env=os.environ | own, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == code, (words, done.stdout, done.stderr)
        return done.stdout + done.stderr

    def run(self, name: str, *options: str) -> None:
        httpd = ("image", "/bin/httpd", "-f", "-p", "80", "-h", "/www")
        security = ("--security-opt", "seccomp=unconfined", "--cgroup-parent", self.parent)
        self("run", "-d", "--name", name, *security, *options, *httpd)


@pytest.fixture
def podman(clean: NodeProcess, rundir: Path) -> Iterator[Podman]:
    """podman with one network, which is tenant blue's."""
    clean.hawser("net", "create", "-t", "blue", "--subnet", "10.7.0.0/24", "--subnet", "fd07::/64", "web")
    (rundir / "hawser-cni").symlink_to(Path(sys.executable).parent / "hawser-cni")
    capabilities = dict.fromkeys(("portMappings", "ips", "mac", "bandwidth"), True)
    plugin = {"type": "hawser-cni", "tenant": "blue", "network": "web", "socket": str(clean.socket)}
    network = {"cniVersion": "0.4.0", "name": "blueweb", "plugins": [plugin | {"capabilities": capabilities}]}
    (rundir / "10-blueweb.conflist").write_text(json.dumps(network))
    assert RUNTIME is not None
    made_by_podman = [path for path in map(Path, OUTSIDE) if not path.exists()]
    programs = {"conmon": shutil.which("conmon"), "runtime": shutil.which(RUNTIME), "name": RUNTIME}
    (rundir / "containers.conf").write_text(SETUP.format(directory=rundir, **programs))
    (rundir / ".config/containers").mkdir(parents=True)
    (rundir / ".config/containers/policy.json").write_text('{"default": [{"type": "insecureAcceptAnything"}]}')
    (rundir / "busybox.tar").write_bytes(busybox())
    made = Podman(rundir, f"hawser-test-{os.getpid()}")
    made("import", str(rundir / "busybox.tar"), "image")
    yield made
    made("rm", "-af", "-t", "0")
    for group in Path("/sys/fs/cgroup").glob(f"**/{made.parent}"):
        for directory, _, _ in os.walk(group, topdown=False):
            os.rmdir(directory)
    for path in made_by_podman:
        shutil.rmtree(path, ignore_errors=True)


def test_a_container_of_podman_s_is_on_the_tenant_s_network(clean: NodeProcess, podman: Podman) -> None:
    podman.run("one", "--ip", "10.7.0.77", "--mac-address", "02:00:00:00:00:77", "-p", "8095:80")
    (found,) = clean.client.get("/v1/attachments", owner="cni")
    assert (found["name"], found["mac"], found["publish"]) == ("one", "02:00:00:00:00:77", ["8095:80/tcp"])
    assert found["addresses"][0] == "10.7.0.77/24"
    until(lambda: probes.http(None, "127.0.0.1", 8095) == "ahoy\n", what="the published page")
    clean.hawser(
        "run", "-d", "-t", "blue", "--net", "web", "--name", "two", "busybox", "/bin/httpd", "-f", "-h", "/www"
    )
    fetch = ("/bin/wget", "-q", "-O", "-")
    until(lambda: clean.hawser("exec", "two", *fetch, "http://one/").out == "ahoy\n", what="podman's, by its name")
    until(lambda: podman("exec", "one", *fetch, "http://two/") == "ahoy\n", what="hawser's, by its name")
    podman("restart", "-t", "0", "one")
    until(lambda: probes.http(None, "127.0.0.1", 8095) == "ahoy\n", what="the page again")
    podman("rm", "-f", "-t", "0", "one")
    assert clean.client.get("/v1/attachments", owner="cni") == []
    assert clean.client.get("/v1/plan") == []


def test_networks_of_a_container_of_podman_s_come_and_go(clean: NodeProcess, podman: Podman) -> None:
    podman.run("one")
    podman("network", "disconnect", "blueweb", "one")
    assert clean.client.get("/v1/attachments", owner="cni") == []
    podman("network", "connect", "blueweb", "one")
    assert len(clean.client.get("/v1/attachments", owner="cni")) == 1
    podman("rm", "-f", "-t", "0", "one")
    assert clean.client.get("/v1/plan") == []


def test_what_the_node_refuses_podman_tells(clean: NodeProcess, podman: Podman) -> None:
    podman.run("one", "--ip", "10.7.0.77")
    said = podman("run", "--ip", "10.7.0.77", "image", "/bin/true", code=126)
    assert "10.7.0.77" in said
    assert len(clean.client.get("/v1/attachments", owner="cni")) == 1
