"""PostgreSQL's own logs as a source of statements: stderr, csvlog and jsonlog, with what auto_explain adds."""

from tercet.advisor.workload.logs.log import from_log

__all__ = ["from_log"]
