"""A server that answers every put at once and keeps nothing: what Python and gRPC cost alone.

`python -m bench.empty PORT`
"""

import asyncio
import sys

import grpc
import grpc.aio
import uvloop

from hawser.store.etcd import etcd_pb2 as pb
from hawser.store.etcd.services import PUT


async def serve(port: int) -> None:
    answer = pb.PutResponse(header=pb.ResponseHeader(cluster_id=1, member_id=1, revision=1, raft_term=1))

    async def put(request: pb.PutRequest, context: object) -> pb.PutResponse:
        return answer

    handler = grpc.unary_unary_rpc_method_handler(
        put, request_deserializer=PUT.request.FromString, response_serializer=PUT.response.SerializeToString
    )
    server = grpc.aio.server()
    service, _, method = PUT.path[1:].partition("/")
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {method: handler}),))
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
