"""What the demo asks of the node: the same API that the command line uses."""

from pathlib import Path
from typing import Any

from ..client import Client, segment


class Desk:
    """Questions and orders, in the words of the story."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def order(self, name: str, text: str) -> None:
        """Submit a unit and start it."""
        self._client.put(f"/v1/units/{segment(name)}", {"text": text})
        self._client.post(f"/v1/units/{segment(name)}/start")

    def units(self) -> list[dict[str, Any]]:
        """Every unit with its states."""
        units: list[dict[str, Any]] = self._client.get("/v1/units")
        return units

    def services(self, service: str | None = None, tenant: str | None = None) -> list[dict[str, Any]]:
        """What is announced, of one service and tenant or of all."""
        records = self._client.get("/v1/services")
        return [r for r in records if service in (None, r["service"]) and tenant in (None, r["tenant"])]

    def containers(self) -> list[dict[str, Any]]:
        """Every running container."""
        containers: list[dict[str, Any]] = self._client.get("/v1/containers")
        return containers

    def container(self, name: str) -> dict[str, Any]:
        """Everything about one container."""
        document: dict[str, Any] = self._client.get(f"/v1/containers/{segment(name)}")
        return document

    def processes(self) -> dict[str, int]:
        """The process of every running container."""
        return {entry["id"]: self.container(entry["id"])["pid"] for entry in self.containers()}

    def address(self, name: str) -> str:
        """A container's IPv4 address."""
        return str(self.container(name)["addresses"][0]).split("/")[0]

    def namespace(self, name: str) -> tuple[Path, str]:
        """A container's network namespace and its IPv4 gateway."""
        document = self.container(name)
        return Path(document["netns"]), document["interfaces"][0]["gateways"][0]

    def execute(self, name: str, *argv: str) -> tuple[int, str]:
        """Run a command in a container: its exit code and what it printed."""
        result = self._client.post(f"/v1/containers/{segment(name)}/exec", {"argv": list(argv)})
        return int(result["code"]), str(result["stdout"])
