"""What happens in the demo, chapter by chapter; every claim is asked of the running system, from outside the node."""

import os
import signal
import statistics
import time
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from ..faults import Fault
from . import probes
from .desk import Desk
from .report import Report
from .stage import MTU, OUTSIDE, UPLINK, Stage

PACKAGES = {"web": ("nginx-light", "redis-tools", "busybox-static"), "data": ("redis-server", "busybox-static")}
TENANTS = {"blue": 808, "green": 909}
UNITS = ("data.service", "web@1.service", "web@2.service")
QUERIES = 50


class Story:
    """The chapters, over one stage and one report."""

    def __init__(self, stage: Stage, report: Report, images: Mapping[str, Path]) -> None:
        self.stage = stage
        self.desk = Desk(stage.client)
        self.report = report
        self.images = images

    def tell(self) -> None:
        """All chapters; the last one removes everything."""
        self.begin()
        self.networks()
        self.units()
        self.names()
        self.traffic()
        self.isolation()
        self.instance_dies()
        self.node_dies()

    def begin(self) -> None:
        self.report.chapter("A private node in a temporary directory and namespace")
        with self.report.measured("node start"):
            up = self.stage.start_node()
        self.report.claim("the node answers on its socket", up, self.report.took("node start"))
        if not up:
            raise Fault(f"the node did not start:\n{self.stage.log()}")
        with self.report.measured("image import"):
            for name, tarball in self.images.items():
                with tarball.open("rb") as source:
                    self.stage.client.upload("/v1/images", source, name=name)
        packages = ", ".join(packages[0] for packages in PACKAGES.values())
        names = [image["name"] for image in self.stage.client.get("/v1/images")]
        self.report.claim(
            f"images of Debian's {packages} imported", names == sorted(PACKAGES), self.report.took("image import")
        )

    def networks(self) -> None:
        self.report.chapter("Two tenants, a network each")
        for tenant in TENANTS:
            with self.report.measured(f"network {tenant}"):
                self.stage.client.post("/v1/networks", {"tenant": tenant, "name": "default"})
            network = self.stage.client.get(f"/v1/networks/{tenant}/default")
            self.report.claim(
                f"network {tenant}/default has {', '.join(network['subnets'])}",
                len(network["subnets"]) == 2,
                self.report.took(f"network {tenant}"),
            )
        self.settled("nothing is pending after that")

    def units(self) -> None:
        self.report.chapter("Their applications, from unit files: a web server twice, a data server")
        site = self.stage.directory / "site"
        with self.report.measured("applications start"):
            for tenant, port in TENANTS.items():
                place = site / tenant
                place.mkdir(parents=True)
                (place / "nginx.conf").write_text(_data("nginx.conf").replace("TENANT", tenant))
                for unit in UNITS:
                    text = _data("data.service" if unit == "data.service" else "web@.service")
                    text = text.replace("{tenant}", tenant).replace("{site}", str(place)).replace("{port}", str(port))
                    self.desk.order(f"{tenant}-{unit}", text)
            active = probes.until(lambda: all(unit["active"] == "active" for unit in self.desk.units()), 15)
        states = ", ".join(
            f"{unit['name']} {unit['active']}" for unit in self.desk.units() if unit["active"] != "active"
        )
        self.report.claim("six units are active", active, states or self.report.took("applications start"))
        with self.report.measured("healthy"):
            healthy = probes.until(lambda: sum(record["healthy"] for record in self.desk.services()) == 6, 10)
        self.report.claim("six instances are announced and healthy", healthy, self.report.took("healthy"))

    def names(self) -> None:
        self.report.chapter("Found by name, inside their own network")
        namespace, gateway = self.desk.namespace("blue-web@1.service")
        times: list[float] = []
        for _ in range(QUERIES):
            begin = time.monotonic()
            code, answers = probes.resolve(namespace, gateway, "web.blue.mesh.internal")
            times.append((time.monotonic() - begin) * 1e3)
        self.report.figures["resolve"] = statistics.median(times)
        figure = f"{self.report.took('resolve')} median of {QUERIES}"
        self.report.claim("web.blue.mesh.internal has both web servers", (code, answers) == (0, 2), figure)
        six = probes.resolve(namespace, gateway, "web.blue.mesh.internal", "AAAA")
        ports = probes.resolve(namespace, gateway, "_web._tcp.blue.mesh.internal", "SRV")
        self.report.claim("with their IPv6 addresses and their ports (AAAA, SRV)", (six, ports) == ((0, 2), (0, 2)))
        code = self.desk.execute("blue-web@1.service", "redis-cli", "-h", "data", "SET", "greeting", "ahoy")[0]
        said = self.desk.execute("blue-web@2.service", "redis-cli", "-h", "data", "GET", "greeting")[1].strip()
        self.report.claim(
            "a web server finds `data` by its short name and stores; the other one reads",
            (code, said) == (0, "ahoy"),
            f"it says {said!r}",
        )

    def traffic(self) -> None:
        self.report.chapter("Reached over bridges and published ports")
        with self.report.measured("request"):
            body = probes.http(self.stage.outside, UPLINK, 8081)
        self.report.claim(
            "the outside reaches blue's web server on the machine's port 8081",
            body is not None and "of blue" in body,
            f"{(body or 'nothing').strip()!r} in {self.report.took('request')}",
        )
        self.report.claim(
            "the machine itself reaches it at 127.0.0.1",
            "of blue" in (probes.http(None, "127.0.0.1", 8081) or ""),
        )
        inside, _ = self.desk.namespace("blue-web@1.service")
        self.report.claim(
            "a container reaches its own published port (hairpin)",
            "of blue" in (probes.http(inside, UPLINK, 8081) or ""),
        )
        self.report.claim(
            "a container reaches the outside through NAT",
            probes.seen_as(inside, self.stage.outside, OUTSIDE) == UPLINK,
            f"as {UPLINK}",
        )
        link = self.desk.execute("blue-web@1.service", "busybox", "ip", "link", "show", "eth0")[1]
        self.report.claim("the container's interface has the uplink's MTU", f" mtu {MTU} " in link, f"{MTU}")

    def isolation(self) -> None:
        self.report.chapter("The other tenant is not there")
        green, resolver = self.desk.namespace("green-web@1.service")
        blue = self.desk.address("blue-data.service")
        own = self.desk.address("green-data.service")
        self.report.claim("green reaches its own data server", probes.reaches(green, own, 6379), own)
        self.report.claim("green does not reach blue's data server", not probes.reaches(green, blue, 6379), blue)
        code, answers = probes.resolve(green, resolver, "data.blue.mesh.internal")
        self.report.claim("green cannot resolve blue's names", answers == 0 and code != 0, f"response code {code}")
        _, blue_resolver = self.desk.namespace("blue-web@1.service")
        code, _ = probes.resolve(green, blue_resolver, "data.blue.mesh.internal")
        self.report.claim("nor ask blue's name server", code == -1, "no answer")

    def instance_dies(self) -> None:
        self.report.chapter("One instance is killed, and comes back")
        before = self.desk.container("blue-web@1.service")
        os.kill(before["pid"], signal.SIGKILL)
        with self.report.measured("recover"):
            back = probes.until(lambda: self._answers_anew(before), 10)
        self.report.claim("its successor answers on the published port", back, self.report.took("recover"))
        after = self.desk.container("blue-web@1.service")
        self.report.claim("with the same address", after["addresses"] == before["addresses"], after["addresses"][0])
        with self.report.measured("announced again"):
            announced = probes.until(
                lambda: sum(record["healthy"] for record in self.desk.services("web", "blue")) == 2, 10
            )
        self.report.claim("and is announced again", announced, self.report.took("announced again"))

    def node_dies(self) -> None:
        self.report.chapter("The node process is killed; nothing else notices")
        before = self.desk.processes()
        watcher = probes.Requests(lambda: probes.http(self.stage.outside, UPLINK, 8081) is not None)
        self.stage.kill_node()
        with self.report.measured("node restart"):
            up = self.stage.start_node()
        sent, lost = watcher.stop()
        self.report.claim("it starts again on the same data", up, self.report.took("node restart"))
        self.report.claim("no request was lost meanwhile", sent > 0 and lost == 0, f"{sent} sent, {lost} lost")
        after = self.desk.processes()
        self.report.claim("every container runs on in the same process", before == after, f"{len(after)} containers")
        self.settled("and nothing is pending")

    def settled(self, text: str) -> None:
        """Claim that the plan comes to nothing."""
        empty = probes.until(lambda: self.stage.client.get("/v1/plan") == [], 5)
        self.report.claim(text, empty, "" if empty else str(self.stage.client.get("/v1/plan")))

    def end(self) -> None:
        self.report.chapter("Everything is removed")
        status = self.stage.client.get("/v1/status")
        processes = self.desk.processes().values()
        with self.report.measured("removal"):
            self.stage.client.post("/v1/leave")
            ended = self.stage.node_ended()
        self.report.claim("the node removed what it made and ended", ended, self.report.took("removal"))
        links = self.stage.links() - {"lo", "uplink"}
        self.report.claim("no link is left", not links, ", ".join(sorted(links)))
        alive = [pid for pid in processes if pid and Path(f"/proc/{pid}").exists()]
        self.report.claim("no process is left", not alive, ", ".join(map(str, alive)))
        groups = [str(path) for path in Path("/sys/fs/cgroup").glob(f"**/hawser/{status['machine'][:8]}")]
        self.report.claim("no control group is left", not groups, ", ".join(groups))
        mounts = [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if self._is_ours(line)]
        self.report.claim("no mount is left", not mounts, f"{len(mounts)}" if mounts else "")

    def _is_ours(self, mount: str) -> bool:
        place = mount.split()[4]
        return place.startswith(f"{self.stage.directory}/") and place != str(self.stage.outside)

    def _answers_anew(self, before: dict[str, Any]) -> bool:
        try:
            now = self.desk.container("blue-web@1.service")
        except Fault:
            return False
        return now["pid"] not in (None, before["pid"]) and probes.http(self.stage.outside, UPLINK, 8081) is not None


def _data(name: str) -> str:
    return files("hawser").joinpath("data", "demo", name).read_text()
