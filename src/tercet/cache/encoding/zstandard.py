"""The edge of zstandard: the package of that name, or Python's own module from 3.14 on."""

from __future__ import annotations

import sys

# The fastest: the next ones cost several times as much for a few percent.
LEVEL = 1

if sys.version_info >= (3, 14):
    from compression import zstd

    def compress(body: bytes) -> bytes:
        """The body as a frame that says how big it will be."""
        return zstd.compress(body, LEVEL)

    def _said(packed: bytes) -> int | None:
        return zstd.get_frame_info(packed).decompressed_size

    def _whole(packed: bytes, size: int) -> bytes:
        inflater = zstd.ZstdDecompressor()
        # A byte more than it says: then one that holds more does not come to its end.
        whole = inflater.decompress(packed, size + 1)
        if not inflater.eof or inflater.unused_data:
            raise ValueError("it does not end where it says")
        return whole

    Broken = zstd.ZstdError
else:
    import threading

    import zstandard

    class _Tools(threading.local):
        """A thread's own: they cost more to make than to use, and must not be used by two threads at once."""

        def __init__(self) -> None:
            self.compressor = zstandard.ZstdCompressor(level=LEVEL)
            self.decompressor = zstandard.ZstdDecompressor()

    _tools = _Tools()

    def compress(body: bytes) -> bytes:
        """The body as a frame that says how big it will be."""
        return bytes(_tools.compressor.compress(body))

    def _said(packed: bytes) -> int | None:
        size = int(zstandard.frame_content_size(packed))
        return None if size < 0 else size

    def _whole(packed: bytes, size: int) -> bytes:
        return bytes(_tools.decompressor.decompress(packed, max_output_size=size, allow_extra_data=False))

    Broken = zstandard.ZstdError


def decompress(packed: bytes, most: int) -> bytes:
    """The body again; raises ValueError for what is no such frame, or bigger than `most`."""
    try:
        size = _said(packed)
        # Looked at before a byte is written: room is made for what the frame says.
        if size is None or size > most:
            raise ValueError("it does not say how big it is, or is too big")
        whole = _whole(packed, size)
    except Broken as error:
        raise ValueError(str(error)) from error
    if len(whole) != size:
        raise ValueError("it is not as big as it says")
    return whole
