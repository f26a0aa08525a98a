"""The messages of pgoutput: where each one's facts lie.

A message is one byte of kind and what follows. In a stream (protocol 2) the id of the transaction or subtransaction
stands between the two, in those that a transaction is made of: IN_STREAM is how much further all else lies then.
"""

from __future__ import annotations

import struct
from typing import Final

from tercet.errors import FeedBroken

BEGIN: Final = 0x42  # B
COMMIT: Final = 0x43  # C
ORIGIN: Final = 0x4F  # O
RELATION: Final = 0x52  # R
TYPE: Final = 0x59  # Y
INSERT: Final = 0x49  # I
UPDATE: Final = 0x55  # U
DELETE: Final = 0x44  # D
TRUNCATE: Final = 0x54  # T
MESSAGE: Final = 0x4D  # M
STREAM_START: Final = 0x53  # S
STREAM_STOP: Final = 0x45  # E
STREAM_COMMIT: Final = 0x63  # c
STREAM_ABORT: Final = 0x41  # A

# How a tuple is introduced: the new row, the old row's identity, the old row whole.
NEW: Final = 0x4E  # N
KEY: Final = 0x4B  # K
OLD: Final = 0x4F  # O

# How a value is introduced: NULL, TOASTed and unchanged, text.
NULL: Final = 0x6E  # n
UNCHANGED: Final = 0x75  # u
TEXT: Final = 0x74  # t

IN_STREAM: Final = 4

# The message's own flag: it belongs to a transaction.
TRANSACTIONAL: Final = 1
# The column's own flag: it belongs to the replica identity.
IDENTITY: Final = 1

NUMBER = struct.Struct(">I")
COUNT = struct.Struct(">H")
# The commit's position, its time, the transaction.
BEGIN_FACTS = struct.Struct(">QqI")
# Flags, the commit's position, the transaction's end, its time.
COMMIT_FACTS = struct.Struct(">BQQq")
# The same, after the transaction.
STREAM_COMMIT_FACTS = struct.Struct(">IBQQq")
# The transaction, and whether this is the first that is heard of it.
STREAM_START_FACTS = struct.Struct(">IB")
# The transaction, and that part of it which is undone.
STREAM_ABORT_FACTS = struct.Struct(">II")
# What protocol 4 adds where changes are streamed in parallel: position and time of the abort.
STREAM_ABORT_MORE = 16
# Flags, position.
MESSAGE_FACTS = struct.Struct(">BQ")
# How many relations, and options (1 cascade, 2 restart identity).
TRUNCATE_FACTS = struct.Struct(">IB")
# The type's number, its modifier.
COLUMN_FACTS = struct.Struct(">Ii")


def kind_text(kind: int) -> str:
    """A kind as a reader of PostgreSQL's manual knows it."""
    return repr(chr(kind)) if chr(kind).isascii() and chr(kind).isalnum() else f"{kind:#04x}"


def string(data: bytes, at: int) -> tuple[str, int]:
    """The text that ends with a zero byte, and where the next fact begins."""
    end = data.find(b"\0", at)
    if end < 0:
        raise broken("a text without an end")
    return data[at:end].decode(errors="surrogateescape"), end + 1


def broken(reason: str) -> FeedBroken:
    """What is raised where PostgreSQL has sent what cannot be read."""
    return FeedBroken("postgres", reason=reason)
