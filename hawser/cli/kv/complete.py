"""What the shell offers for a key: keys of the store that begin so; nothing without a store."""

import os

import click
from click.shell_completion import CompletionItem

MOST = 200
PATIENCE = 2.0


def complete_key(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Keys that begin with what is there."""
    try:
        with context.scope(cleanup=False):
            return [CompletionItem(os.fsdecode(key)) for key in sorted(_offered(os.fsencode(incomplete)))]
    except Exception:  # whatever it is, a prompt is no place for it
        return []


def _offered(start: bytes) -> set[bytes]:
    import asyncio

    from .where import open_kv

    async def keys() -> set[bytes]:
        from hawser.store import RangeOp

        async with asyncio.timeout(PATIENCE), open_kv() as store:
            found = await store.read(RangeOp(start, prefix=True, keys_only=True, limit=MOST))
        return {kv.key for kv in found.kvs}

    return asyncio.run(keys())
