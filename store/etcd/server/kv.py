"""The KV service: ranges, puts, deletes, transactions, compaction."""

import asyncio

from ...auth import Need
from ...embedded.engine import Engine
from ...embedded.requests import check_put, check_txn
from ...kv import DeleteResult, PutResult, RangeResult, TxnOp, TxnResult
from .. import etcd_pb2 as pb
from ..errors import Code, EtcdError
from .access import Access
from .calls import Caller
from .codec import (
    delete_op,
    delete_response,
    kv_message,
    put_op,
    put_response,
    range_op,
    range_response,
    txn_op,
    txn_response,
)
from .limits import MAX_ANSWER, SLICE
from .member import Member


class Kv:
    """Over one engine. Puts and reads of one key take the shortest way."""

    def __init__(self, engine: Engine, member: Member, access: Access) -> None:
        self._engine, self._member, self._access = engine, member, access

    async def range(self, request: pb.RangeRequest, caller: Caller) -> pb.RangeResponse:
        op = range_op(request)
        if self._access.enabled:
            self._access.guard.range(self._access.who(caller), request.key, request.range_end)
        result = await self._engine.read(op)
        header = self._member.header(result.revision)
        if len(result.kvs) > SLICE:
            return await _large(result, header)
        return range_response(result, header)

    async def put(self, request: pb.PutRequest, caller: Caller) -> pb.PutResponse:
        op = put_op(request)
        if self._access.enabled:
            check_put(op)
            leased = self._access.lease_keys(op.lease) if op.lease else ()
            self._access.guard.put(self._access.who(caller), op.key, prev_kv=op.prev_kv, leased=leased)
        if op.prev_kv or op.ignore_value or op.ignore_lease:
            result = await self._engine.apply(op)
            assert isinstance(result, int | PutResult)
            revision = result if isinstance(result, int) else result.revision
            return put_response(result, self._member.header(revision))
        revision = await self._engine.put(op.key, op.value, lease=op.lease)
        return pb.PutResponse(header=self._member.header(revision))

    async def delete_range(self, request: pb.DeleteRangeRequest, caller: Caller) -> pb.DeleteRangeResponse:
        op = delete_op(request)
        if self._access.enabled:
            who = self._access.who(caller)
            self._access.guard.delete(who, request.key, request.range_end, prev_kv=request.prev_kv)
        result = await self._engine.apply(TxnOp(then=(op,)))
        assert isinstance(result, TxnResult)
        (deleted,) = result.results
        assert isinstance(deleted, int | DeleteResult)
        return delete_response(deleted, self._member.header(result.revision))

    async def txn(self, request: pb.TxnRequest, caller: Caller) -> pb.TxnResponse:
        op = txn_op(request)
        if self._access.enabled:
            check_txn(op)
            self._access.guard.txn(self._access.who(caller), op, self._access.lease_keys)
        result = await self._engine.apply(op)
        assert isinstance(result, TxnResult)
        return txn_response(op, result, self._member.header(result.revision))

    async def compact(self, request: pb.CompactionRequest, caller: Caller) -> pb.Done:
        """To revision 0 it is nothing while nothing is compacted."""
        self._access.admit(caller, Need.USER)
        if request.revision or self._engine.compacted:
            await self._engine.compact(request.revision)
        return pb.Done(header=self._member.header())


async def _large(result: RangeResult[bytes], header: pb.ResponseHeader) -> pb.RangeResponse:
    """The response with many keys, made while others are answered. EtcdError when it is too large."""
    response = pb.RangeResponse(header=header, more=result.more, count=result.count)
    size = 0
    for begin in range(0, len(result.kvs), SLICE):
        part = result.kvs[begin : begin + SLICE]
        size += sum(len(entry.key) + len(entry.value) for entry in part)
        if size > MAX_ANSWER:
            text = f"grpc: trying to send message larger than max ({size} vs. {MAX_ANSWER})"
            raise EtcdError(Code.RESOURCE_EXHAUSTED, text)
        response.kvs.extend(map(kv_message, part))
        await asyncio.sleep(0)
    return response
