"""The runtime of a node: containers from images, and processes of the machine, that survive the node.

Every container has a shim (drivers/shim.py) that the node only watches, by pidfd: when it ends, the record of the
program's end is there; if not, somebody killed it, and the node kills what it left and writes the record. After a
restart the containers' directories say what there was, their locks which shims still live. What exists beyond that
(cgroups of no container, half-made directories) is leftover: `plan` lists it, `open` removes it. A container that
cannot be read is no leftover: `troubles` names it, and it stays.
"""

import asyncio
import contextlib
import functools
import os
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from hawser.store.reconcile import Step

from . import requests
from .container import Container
from .drivers import logfile, procfs
from .drivers.capture import run_command
from .drivers.forest import Forest
from .drivers.launcher import Launcher
from .drivers.leftovers import Leftover, Leftovers
from .drivers.records import Record, Shelf, decode_running
from .drivers.removal import remove_tree
from .errors import Conflict, Denied, Invalid, NotFound, RuntimeFault, Unavailable
from .images import Images
from .model import ContainerInfo, ContainerSpec, ExecResult, Exit, LogLine, check
from .watch import Watch

SIGKILL = 9
# what a terminal or a supervisor sends to end a program: HUP, INT, QUIT, TERM
DEADLY = frozenset({1, 2, 3, 15})
RESTART = 0.2
Outcome: TypeAlias = "asyncio.Future[RuntimeFault | None]"


class Runtime:
    """Containers of one node below `data` (durable) and `run` (until reboot), in cgroups marked `instance`.

    `on_change(id)` is called on the loop when a container starts or ends.
    """

    def __init__(
        self,
        data: Path,
        run: Path,
        instance: str,
        images: Images,
        *,
        on_change: Callable[[str], None] = lambda container: None,
    ) -> None:
        self.images = images
        self._data = data
        self._boot = procfs.boot_id()
        self._shelf = Shelf(data.absolute() / "containers")
        self._forest = Forest(instance)
        self._launcher = Launcher(run.absolute(), self._forest.branches(), self._forest.homes())
        self._leftovers = Leftovers(self._shelf, self._forest)
        self._watch = Watch(self._shelf, self._forest, self._boot, on_change)
        self._containers = self._watch.containers
        self._claim = -1
        self._torn = False
        images.in_use = self._in_use

    async def open(self) -> None:
        """Start the zygote, adopt what runs, remove leftovers. Denied (not root), Conflict (another node has it)."""
        if os.geteuid() != 0:
            raise Denied("containers need namespaces, mounts and cgroups of the machine: run the node as root")
        try:
            for directory in (self._shelf.root, self._launcher.run):
                directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._claim = self._shelf.claim()
        except BlockingIOError:
            raise Conflict(
                f"{self._data} belongs to another running node; stop that, or use another directory"
            ) from None
        except OSError as error:
            raise Unavailable(f"data directory: {error.strerror}: {error.filename}") from error
        try:
            await asyncio.to_thread(self._forest.prepare)
            await self._launcher.start()
            await self._watch.load()
            await self._clear()
            await asyncio.to_thread(self.images.collect)
        except BaseException:
            await self.close()
            raise

    async def run(self) -> None:
        """Keep a zygote at hand, until cancelled. Ends of containers are noticed without it."""
        while True:
            if self._torn:
                await asyncio.Event().wait()
            with contextlib.suppress(Unavailable):
                await self._launcher.start()
                await self._launcher.died()
            # a request starts one at once; this only keeps one at hand, and a broken machine unharmed
            await asyncio.sleep(RESTART)

    async def close(self) -> None:
        """Let go: the zygote ends, the containers go on."""
        self._watch.forget()
        await self._launcher.stop()
        if self._claim >= 0:
            os.close(self._claim)
            self._claim = -1

    async def create(self, spec: ContainerSpec) -> ContainerInfo:
        """Make a container, not running. Invalid, NotFound (image), Conflict (id taken), Unavailable (disk, limit)."""
        check(spec)
        self._forest.groups(spec.id, spec.limits)
        if missing := _missing(spec):
            raise Invalid(f"container {spec.name or spec.id}: mount source {missing} does not exist; create it first")
        if reason := self._watch.troubles.get(spec.id):
            raise Conflict(f"container {spec.id} exists but cannot be read: {reason}; choose another id")
        if spec.id in self._containers:
            raise Conflict(f"container {spec.id} exists already; remove it or choose another id")
        with self.images.lock:
            layer = self.images.get(spec.image).id if spec.image is not None else None
            record = Record(spec=spec, layer=layer, created=time.time())
            self._request(record)  # or no start could ever succeed
            try:
                self._shelf.put(record, self.images.uid_base)
            except OSError as error:
                words = f"{error.strerror}: {self._data}"
                raise Unavailable(f"container {spec.name or spec.id}: {words}; nothing was created") from error
            self._containers[spec.id] = Container(record)
        return self.get(spec.id)

    def rewrite_hosts(self, id: str, change: Callable[[str], str]) -> bool:
        """Change the /etc/hosts that a container was given, running or not; whether it is another now. NotFound,
        Unavailable. Blocks for a moment."""
        container = self._find(id)
        try:
            present = self._shelf.hosts(id)
            if present is None or (wanted := change(present)) == present:
                return False
            self._shelf.set_hosts(id, wanted)
        except OSError as error:
            raise Unavailable(f"{container.words}: its hosts file: {error.strerror}") from error
        return True

    async def start(self, id: str) -> ContainerInfo:
        """Run its program; returns when exec succeeded. NotRunnable (126, 127), Invalid, Conflict, Unavailable."""
        container = self._find(id)
        if container.running or container.starting:
            raise Conflict(f"{container.words} is running or starting already")
        outcome: Outcome = asyncio.get_running_loop().create_future()
        container.begin_start()
        try:
            channel = await self._launcher.request(self._request(container.record))
        except RuntimeFault as refused:
            container.fail_start(refused)
            raise
        except BaseException:
            container.quiet.set()
            raise
        try:
            answer = await channel.receive()
        except asyncio.CancelledError:
            channel.hand_over(functools.partial(self._answered, container, outcome))
            raise
        channel.close()
        self._answered(container, outcome, answer)
        if fault := await outcome:
            raise fault
        return container.info()

    def _request(self, record: Record) -> bytes:
        spec, layer = record.spec, record.layer
        lower = self.images.root.absolute() / "layers" / layer if layer else None
        if lower and not lower.is_dir():
            words = f"the layer of image {spec.image} is gone; import it again"
            raise NotFound(f"container {spec.name or spec.id}: {words}")
        groups = self._forest.groups(spec.id, spec.limits)
        place = self._shelf.place(spec.id)
        request = requests.start(spec, place, lower, groups, boot=self._boot, base=self.images.uid_base)
        return requests.encode(spec, request)

    def _answered(self, container: Container, outcome: Outcome, answer: Mapping[str, Any] | None) -> None:
        """The start has come to its end; of a launcher that was killed, what it left is killed first, in a thread."""
        if answer is None:
            clearing = asyncio.get_running_loop().run_in_executor(None, self._forest.clear, container.spec.id)
            words = f"{container.words}: its launcher was killed; try again"
            clearing.add_done_callback(lambda _: self._settle(container, outcome, Unavailable(words)))
        elif "errno" in answer:
            self._settle(container, outcome, requests.fault(container.spec, answer))
        else:
            self._watch.begin(container, decode_running(answer["state"]))
            self._settle(container, outcome, None)

    def _settle(self, container: Container, outcome: Outcome, fault: RuntimeFault | None) -> None:
        if fault:
            container.fail_start(fault)
        else:
            container.quiet.set()
        if not outcome.done():
            outcome.set_result(fault)

    async def stop(self, id: str, timeout: float | None = None) -> Exit:
        """Its stop signal, SIGKILL after `timeout` seconds (None: its own). Not running: how it ended, or Conflict."""
        container = self._find(id)
        await container.quiet.wait()
        if container.running is None and container.exit:
            return container.exit
        number = container.spec.stop_signal
        wait = container.spec.stop_timeout if timeout is None else timeout
        if wait > 0 and container.hears(number):
            container.send(number)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    return await self.wait(id)
        container.send(SIGKILL)
        return await self.wait(id)

    async def kill(self, id: str, signal: int, *, default: bool = False) -> None:
        """Send its program a signal; with `default`, one that PID 1 would never see ends it, as it would elsewhere.

        Conflict when it does not run, Invalid for no signal.
        """
        container = self._find(id)
        try:
            container.send(SIGKILL if default and signal in DEADLY and not container.hears(signal) else signal)
        except (OSError, ValueError) as error:
            raise Invalid(f"signal {signal}: {error}") from error

    async def wait(self, id: str) -> Exit:
        """How it ended, when it has; the fault of its start when that failed and it never ran."""
        container = self._find(id)
        await container.quiet.wait()
        await container.ended.wait()
        if container.exit is None:
            raise container.fault or NotFound(f"container {id} was removed before it ran")
        return container.exit

    async def remove(self, id: str, *, force: bool = False) -> None:
        """Delete a container with its layer and log. Conflict when it runs and not `force`.

        One that cannot be read (`troubles`) goes only with `force`, and whatever runs in it with it.
        """
        if force and id in self._watch.troubles:
            await asyncio.to_thread(self._forest.clear, id)
            await self._delete(id)
            return
        container = self._find(id)
        if (container.running or container.starting) and not force:
            raise Conflict(f"{container.words} is running; stop it first, or force")
        await container.quiet.wait()
        if container.running:
            container.send(SIGKILL)
            await container.ended.wait()
        if container.starting or id not in self._containers:
            raise Conflict(f"{container.words} is starting or being removed already")
        await self._delete(id)

    def _dispose(self, hidden: Path) -> None:
        with contextlib.suppress(OSError):
            remove_tree(hidden)
        self.images.collect()

    async def _delete(self, id: str) -> None:
        try:
            hidden = self._shelf.hide(id)
        except OSError as error:
            raise Unavailable(f"container {id}: cannot be removed: {error.strerror}: {error.filename}") from error
        self._watch.troubles.pop(id, None)
        if container := self._containers.pop(id, None):
            container.ended.set()
        # not cancelled with its caller, or the directory would stay until the next start
        await asyncio.shield(asyncio.get_running_loop().run_in_executor(None, self._dispose, hidden))

    async def execute(
        self,
        id: str,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] = {},
        user: str | None = None,
        cwd: str | None = None,
        timeout: float | None = None,
    ) -> ExecResult:
        """Run a command in a running container to its end; `timeout` in seconds kills it. Conflict, NotRunnable."""
        container = self._find(id)
        processes = container.processes
        if processes is None or processes.program < 0:
            raise Conflict(f"{container.words} is not running; start it first")
        deadline = None if timeout is None else time.monotonic() + timeout
        groups, base = self._forest.groups(id, container.spec.limits), self.images.uid_base
        request = requests.execute(
            container.spec, groups, argv, base=base, env=env, user=user, cwd=cwd, deadline=deadline
        )
        target = [] if container.spec.image is None else [processes.program]
        return await run_command(self._launcher, container.spec, request, target)

    def logs(self, id: str, *, follow: bool = False, tail: int | None = None) -> AsyncIterator[LogLine]:
        """What it wrote, at most 20 MiB back; `follow` goes on until it ends."""
        container = self._find(id)
        return logfile.lines(self._shelf.place(id), follow=follow, tail=tail, ended=lambda: container.running is None)

    def get(self, id: str) -> ContainerInfo:
        """One container. NotFound."""
        return self._find(id).info()

    def containers(self) -> tuple[ContainerInfo, ...]:
        """Every container, by id."""
        return tuple(self._containers[id].info() for id in sorted(self._containers))

    async def plan(self) -> tuple[Step[Leftover], ...]:
        """What `open` would remove: leftovers of this instance. Empty when all is well."""
        alive = {id for id, c in self._containers.items() if c.running or c.starting}
        return await asyncio.to_thread(self._leftovers.plan, alive | set(self._watch.troubles))

    def troubles(self) -> dict[str, str]:
        """Containers whose records could not be read when the node opened, with the reason; nothing touches them."""
        return dict(self._watch.troubles)

    async def teardown(self) -> None:
        """Stop and remove everything of this instance."""
        async with asyncio.TaskGroup() as group:
            for id in (*self._containers, *self._watch.troubles):
                group.create_task(self._discard(id))
        self._torn = True  # a zygote that is started anew would keep the branches
        await self._launcher.stop()
        await self._clear()
        await asyncio.to_thread(self._forest.fell)
        await self.close()

    @property
    def launcher(self) -> int | None:
        """Process id of the zygote."""
        return self._launcher.pid

    def cgroups(self, id: str) -> tuple[str, ...]:
        """Directories of a container's control groups, whether they exist or not. NotFound."""
        return tuple(directory for directory, _ in self._forest.groups(id, self._find(id).spec.limits))

    async def _discard(self, id: str) -> None:
        with contextlib.suppress(Conflict, NotFound):
            await self.remove(id, force=True)

    def _in_use(self, layer: str) -> bool:
        """Of a container that cannot be read nobody knows on which layer it stands."""
        return bool(self._watch.troubles) or any(c.record.layer == layer for c in list(self._containers.values()))

    async def _clear(self) -> None:
        for step in await self.plan():
            await asyncio.to_thread(self._leftovers.remove, step.spec)

    def _find(self, id: str) -> Container:
        container = self._containers.get(id)
        if reason := self._watch.troubles.get(id):
            raise Unavailable(
                f"container {id} cannot be read: {reason}; mend that and restart the node, or remove it by force"
            )
        if container is None:
            raise NotFound(f"container {id} does not exist; see: hawser ps --all")
        return container


def _missing(spec: ContainerSpec) -> str | None:
    return next((mount.source for mount in spec.mounts if not os.path.exists(mount.source)), None)
