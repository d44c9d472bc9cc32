"""Who answers: the ids of a store that is a cluster of one, kept in the store, and the headers that name them."""

import secrets
from dataclasses import dataclass, field

from ...embedded.engine import Engine
from .. import etcd_pb2 as pb

META = "etcd.member"
TERM = 2
"""The only one: nobody else can lead."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """`cluster` and `id` never change while the store lives; `urls` is where clients are told to come."""

    cluster: int
    id: int
    engine: Engine
    name: str = "default"
    urls: tuple[str, ...] = ()
    _made: list[tuple[int, pb.ResponseHeader]] = field(default_factory=list)

    def header(self, revision: int | None = None) -> pb.ResponseHeader:
        """Of a response at a revision, the store's own when none is given. Not to be changed: others share it."""
        if revision is None:
            revision = self.engine.revision
        made = self._made
        if made and made[0][0] == revision:
            return made[0][1]
        header = pb.ResponseHeader(cluster_id=self.cluster, member_id=self.id, revision=revision, raft_term=TERM)
        made[:] = [(revision, header)]
        return header


async def member(engine: Engine, *, name: str = "default", urls: tuple[str, ...] = ()) -> Member:
    """The engine's; the first time its ids are drawn and kept."""
    ids = engine.meta.get(META)
    if ids is None:
        ids = secrets.token_bytes(16)
        await engine.set_meta(META, ids)
    cluster, own = int.from_bytes(ids[:8]) | 1, int.from_bytes(ids[8:]) | 1
    return Member(cluster=cluster, id=own, engine=engine, name=name, urls=urls)
