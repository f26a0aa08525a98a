"""PostgreSQL's logical replication protocol (pgoutput), decoded: pure values, no connection and no waiting."""

from tercet.changes.pgoutput.counts import lsn_read, lsn_text
from tercet.changes.pgoutput.decoder import Decoder
from tercet.changes.pgoutput.frames import KEEPALIVE, XLOG_DATA, XLOG_HEADER, Keepalive, keepalive, status, xlog_end
from tercet.changes.pgoutput.transaction import PART_CHANGES
from tercet.changes.pgoutput.types import SETTINGS

__all__ = [
    "KEEPALIVE",
    "PART_CHANGES",
    "SETTINGS",
    "XLOG_DATA",
    "XLOG_HEADER",
    "Decoder",
    "Keepalive",
    "keepalive",
    "lsn_read",
    "lsn_text",
    "status",
    "xlog_end",
]
