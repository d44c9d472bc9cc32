"""nftables in this process: libnftables through ctypes (libnftables(3)).

A transaction costs 0.07 ms, spawning `nft` 16. Every call is one atomic kernel transaction. The context belongs to the
namespace of the thread that made it. The library keeps state of its own beside it (1.0.6 takes types apart with
strtok(3)), so calls are made one at a time, from whichever thread and for whichever context.
"""

import ctypes
import json
import threading
from typing import Any

from ..errors import Denied, Exists, NetError, NotFound, Unavailable

# NFT_CTX_OUTPUT_JSON, NFT_CTX_OUTPUT_NUMERIC_PROTO, NFT_CTX_OUTPUT_TERSE
JSON, NUMERIC_PROTO, TERSE = 1 << 4, 1 << 7, 1 << 11
ONE_AT_A_TIME = threading.Lock()
WORDS: dict[str, type[NetError]] = {
    "Operation not permitted": Denied,
    "you must be root": Denied,
    "No such file or directory": NotFound,
    "File exists": Exists,
}


class Nft:
    """One libnftables context."""

    def __init__(self) -> None:
        try:
            lib = ctypes.CDLL("libnftables.so.1")
        except OSError:
            raise Unavailable("libnftables.so.1 not found; apt-get install libnftables1") from None
        lib.nft_ctx_new.restype = ctypes.c_void_p
        for name in ("nft_ctx_get_error_buffer", "nft_ctx_get_output_buffer"):
            getattr(lib, name).argtypes = [ctypes.c_void_p]
            getattr(lib, name).restype = ctypes.c_char_p
        for name in ("nft_ctx_buffer_error", "nft_ctx_buffer_output", "nft_ctx_free"):
            getattr(lib, name).argtypes = [ctypes.c_void_p]
        lib.nft_run_cmd_from_buffer.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
        lib.nft_ctx_output_set_flags.argtypes = [ctypes.c_void_p, ctypes.c_uint]
        self._lib = lib
        with ONE_AT_A_TIME:
            self._context = lib.nft_ctx_new(0)
        lib.nft_ctx_buffer_error(self._context)
        lib.nft_ctx_buffer_output(self._context)

    def close(self) -> None:
        with ONE_AT_A_TIME:
            self._lib.nft_ctx_free(self._context)

    def run(self, commands: str) -> str:
        """Run commands as one transaction and return what nft prints; when it is refused: Denied, NotFound, Exists,
        NetError with nft's words."""
        if commands.strip():
            with ONE_AT_A_TIME:
                code = self._lib.nft_run_cmd_from_buffer(self._context, commands.encode())
            if code != 0:
                raise self._refused()
        return (self._lib.nft_ctx_get_output_buffer(self._context) or b"").decode(errors="replace")

    def table(self, name: str, family: str = "inet") -> list[dict[str, Any]] | None:
        """The objects of a table in libnftables-json(5) form, or None when there is none."""
        try:
            return self.objects(f"list table {family} {name}")
        except NotFound:
            return None

    def objects(self, command: str, *, terse: bool = False) -> list[dict[str, Any]]:
        """What a list command prints, in libnftables-json(5) form, `terse` without sets' elements. Denied, NotFound,
        NetError."""
        self._lib.nft_ctx_output_set_flags(self._context, JSON | TERSE if terse else JSON)
        try:
            output = self.run(command)
        finally:
            self._lib.nft_ctx_output_set_flags(self._context, 0)
        objects: list[dict[str, Any]] = json.loads(output)["nftables"] if output else []
        return objects

    def _refused(self) -> NetError:
        text = (self._lib.nft_ctx_get_error_buffer(self._context) or b"").decode(errors="replace").strip()
        first = text.splitlines()[0] if text else "refused"
        kind = next((kind for words, kind in WORDS.items() if words in text), NetError)
        return kind(f"nftables: {first}" + ("; run as root" if kind is Denied else ""))
