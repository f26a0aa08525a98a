"""What a snapshot's text proves of a read."""

from __future__ import annotations

import pytest

from tercet.stores.reads.postgres_witness import _BEFORE_ANY_SNAPSHOT, seen


def test_a_snapshot_with_running_transactions_is_taken_as_it_is() -> None:
    """Those that run are not seen, the others below its end are."""
    snapshot = seen("pg:1", "10:14:10,12")
    assert [at for at in range(8, 16) if snapshot.sees(at)] == [8, 9, 11, 13]


def test_a_snapshot_that_names_nobody_proves_only_what_is_below_all() -> None:
    """A standby names none of those that run, so nothing between may count as seen."""
    snapshot = seen("pg:1", "10:14:")
    assert [at for at in range(8, 16) if snapshot.sees(at)] == [8, 9]


@pytest.mark.parametrize(
    ("statement", "first"),
    [
        ("SET TRANSACTION READ ONLY", True),
        (" \n-- why\n/* a\nb */ lock table t", True),
        ("SAVEPOINT sa_savepoint_1", True),
        ("ROLLBACK TO SAVEPOINT a", True),
        ("SELECT 1", False),
        ("/* SET */ SELECT 1", False),
        ("-- LOCK\nSELECT 1", False),
        ("SETTLE", False),
        ("WITH t AS (SELECT 1) SELECT * FROM t", False),
    ],
)
def test_statements_that_read_nothing_are_left_where_they_are(statement: str, first: bool) -> None:
    """Comments before them do not hide them, and do not make others look like them."""
    assert bool(_BEFORE_ANY_SNAPSHOT.match(statement)) is first
