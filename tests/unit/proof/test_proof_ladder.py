"""The ladder as table, JSON and picture; it claims nothing that its checksums do not say."""

from __future__ import annotations

import json
import math
import re
import xml.etree.ElementTree as ET
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tercet.errors import DocumentInvalid, ProofFailed, UsageError
from tercet.proof import Ladder, Machine, Rung, Sample, Timing, checksum

ROWS = [{"id": 1}]
SUM = checksum(ROWS)
MACHINE = Machine("Some CPU", 2, 8 << 30, "Linux", "CPython 3.11.7", ("PostgreSQL 18.6", "Valkey 9.1.2"))
SVG = "{http://www.w3.org/2000/svg}"


def rung(
    number: int, median: float, *, name: str = "a way", stale: str = "never", sha: str = SUM, rows: int = 100
) -> Rung:
    """A rung with a p95 a tenth above its median."""
    return Rung(number, name, Timing(30, median, median * 1.1, median * 0.5, 0.001), rows, sha, stale, 0.5)


def ladder(*rungs: Rung, title: str = "One question") -> Ladder:
    """A ladder of these rungs."""
    data = {"users": 1_000_000, "orders": 5_000_000, "seed": "7"}
    return Ladder(rungs, MACHINE, data, datetime(2026, 11, 21, 21, 0, tzinfo=UTC), title)


CLIMB = ladder(
    rung(0, 3.2, name="as written"),
    rung(1, 0.65, name="indexes and rewrite"),
    rung(2, 0.0006, name="materialized summary", stale="until refreshed"),
    rung(3, 0.00025, name="Redis", stale="1.8 ms"),
    rung(4, 9e-7, name="this process", stale="2.1 ms"),
)


def test_the_table_is_what_a_person_reads() -> None:
    """A row a rung, the ratio to the first, and what the rows have in common."""
    assert str(CLIMB.table()) == (
        "rung                     rows   median      p95    vs rung 0   stale after a committed write\n"
        "0 as written              100   3.20 s   3.52 s           1×   never\n"
        "1 indexes and rewrite     100   650 ms   715 ms         4.9×   never\n"
        "2 materialized summary    100   600 µs   660 µs       5\u202f330×   until refreshed\n"
        "3 Redis                   100   250 µs   275 µs      12\u202f800×   1.8 ms\n"
        "4 this process            100   900 ns   990 ns   3\u202f560\u202f000×   2.1 ms\n"
        f"same 100 rows on every rung     sha256 {SUM}"
    )
    assert CLIMB.required({1: 4, 4: 1e6}) is CLIMB


def test_a_rung_with_other_rows_is_named_and_sameness_is_not_claimed() -> None:
    """Neither in the table, nor in the picture, nor when it is asked for."""
    other = checksum([{"id": 2}])
    wrong = ladder(rung(0, 2.0), rung(1, 1.0, sha=other), rung(2, 0.5, rows=99))
    assert [one.number for one in wrong.differing] == [1, 2]
    foot = wrong.table().foot
    assert foot.startswith("NOT the same rows: rungs 1 (100 rows, ")
    assert "2 (99 rows, " in foot
    assert "against rung 0 (100 rows, " in foot
    assert "same 100 rows on every rung" not in wrong.svg()
    assert "NOT the same rows" in wrong.svg()
    with pytest.raises(ProofFailed, match="NOT the same rows") as caught:
        wrong.required()
    assert caught.value.verdict is wrong


def test_a_rung_that_is_not_fast_enough_fails_the_proof() -> None:
    """With both figures in the sentence."""
    with pytest.raises(
        ProofFailed, match=r"Rung 1 \(indexes and rewrite\) is 4\.9× faster than rung 0, and 8× was asked"
    ):
        CLIMB.required({1: 8})


def test_the_json_keeps_its_form() -> None:
    """Other programs read it: README, benches, talks."""
    document = json.loads(CLIMB.json())
    assert document == {
        "format": "tercet.ladder/1",
        "title": "One question",
        "at": "2026-11-21T21:00:00Z",
        "machine": {
            "cpu": "Some CPU",
            "cores": 2,
            "memory_bytes": 8 << 30,
            "system": "Linux",
            "python": "CPython 3.11.7",
            "servers": ["PostgreSQL 18.6", "Valkey 9.1.2"],
        },
        "data": {"users": 1_000_000, "orders": 5_000_000, "seed": "7"},
        "rungs": document["rungs"],
    }
    assert document["rungs"][2] == {
        "number": 2,
        "name": "materialized summary",
        "timing": {
            "times": 30,
            "median": 0.0006,
            "p95": 0.00066,
            "best": 0.0003,
            "cpu": 0.001,
            "batch": 1,
            "overhead": 0.0,
        },
        "rows": 100,
        "checksum": SUM,
        "stale": "until refreshed",
        "stale_seconds": 0.5,
    }


SECONDS = st.floats(1e-9, 1e4)
RUNGS = st.builds(
    Rung,
    st.just(0),
    st.text(),
    st.builds(Timing, st.integers(1, 9), SECONDS, SECONDS, SECONDS, SECONDS, st.integers(1, 9), SECONDS),
    st.integers(0, 10**9),
    st.just(SUM),
    st.text(),
    st.none() | SECONDS,
)


@given(
    RUNGS,
    st.text(),
    st.datetimes(datetime(1971, 1, 1), timezones=st.sampled_from([UTC, timezone(timedelta(hours=9))])),
)
def test_a_ladder_comes_back_from_its_json_and_its_picture_is_well_formed(one: Rung, title: str, at: datetime) -> None:
    """Whatever texts and times are in it; a lone surrogate is the one thing that JSON cannot carry."""
    built = Ladder((one,), MACHINE, {"rows": 1}, at, title)
    assert Ladder.read(built.json()) == built
    root = ET.fromstring(built.svg())
    assert root.tag == SVG + "svg"


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        (b"", "not a ladder"),
        (b"{}", "missing required field"),
        (b"\xff", "not a ladder"),
        (CLIMB.json().replace(b"ladder/1", b"ladder/9"), "of this version"),
        (CLIMB.json().replace(b'"rows": 100', b'"rows": "many"', 1), "Expected `int`"),
        (CLIMB.json()[:200], "truncated"),
    ],
)
def test_what_is_no_ladder_is_refused(document: bytes, reason: str) -> None:
    """With the place where it departs."""
    with pytest.raises(DocumentInvalid, match=reason):
        Ladder.read(document)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (ladder, "without rungs"),
        (lambda: ladder(rung(1, 1), rung(0, 1)), "Number them upwards"),
        (lambda: ladder(rung(1, 1), rung(1, 1)), "Number them upwards"),
        (lambda: ladder(rung(0, 0.0)), "not above zero"),
        (lambda: ladder(rung(0, math.nan)), "not above zero"),
        (lambda: ladder(rung(0, 1, sha="abc")), "no checksum"),
        (lambda: Ladder((rung(0, 1),), MACHINE, {}, datetime(2026, 1, 1)), "no time zone"),
    ],
)
def test_a_ladder_that_would_not_be_true_cannot_be_made(make: object, reason: str) -> None:
    """Each with its mend."""
    with pytest.raises(UsageError, match=reason):
        make()  # type: ignore[operator]  # a lambda from the list


def test_a_rung_is_made_of_a_sample_whose_answer_are_its_rows() -> None:
    """Counted and checksummed."""
    made = Rung.of(3, "Redis", Sample((0.2, 0.1), 0.01, iter([{"id": 1}])), stale="2 ms", stale_seconds=0.002)
    assert (made.rows, made.checksum, made.timing.best) == (1, SUM, 0.1)


def texts(svg: str) -> list[tuple[float, float, float, str, str]]:
    """(x, y, size, anchor, text) of every line of text in a picture."""
    found = []
    for node in ET.fromstring(svg).iter(SVG + "text"):
        place = node.attrib
        found.append(
            (
                float(place["x"]),
                float(place["y"]),
                float(place["font-size"]),
                place.get("text-anchor", "start"),
                node.text or "",
            )
        )
    return found


@pytest.mark.parametrize(
    "built",
    [
        CLIMB,
        ladder(rung(0, 15.0), rung(1, 3e-7)),
        ladder(rung(0, 1.0)),
        ladder(
            *(rung(number, 10.0 ** (2 - number), name="W" * 60, stale="M" * 300) for number in range(10)),
            title="T" * 400,
        ),
        ladder(rung(0, 999.9e-6, name="이 프로세스의 메모리에서 바로 읽은 값", stale="<b>&\"'")),
    ],
)
def test_no_two_texts_of_a_picture_overlap(built: Ladder) -> None:
    """Measured by the widest common font, and none leaves the picture."""
    from tercet.proof.svg import _WIDTH, _measure

    boxes = []
    for x, y, size, anchor, said in texts(built.svg()):
        width = _measure(said, size, bold=False)
        left = {"start": x, "middle": x - width / 2, "end": x - width}[anchor]
        boxes.append((left, y - size * 0.75, left + width, y + size * 0.2, said))
    for left, _, right, _, said in boxes:
        assert left >= 0, said
        assert right <= _WIDTH, said
    for at, one in enumerate(boxes):
        for two in boxes[at + 1 :]:
            apart = one[2] <= two[0] or two[2] <= one[0] or one[3] <= two[1] or two[3] <= one[1]
            assert apart, (one, two)


def test_a_picture_says_everything_in_words_and_asks_for_nothing_from_outside() -> None:
    """It has a title and a description, its own ground, and no address but SVG's own name."""
    svg = CLIMB.svg()
    root = ET.fromstring(svg)
    assert root.attrib["role"] == "img"
    told = root.findtext(SVG + "desc") or ""
    for one in CLIMB.rungs:
        assert one.name in told
    assert SUM in told
    assert (root.findtext(SVG + "title"), root.attrib["aria-labelledby"]) == (
        "One question",
        "ladder-title ladder-desc",
    )
    assert re.findall(r"https?://[^\"]+", svg) == ["http://www.w3.org/2000/svg"]
    assert not re.search(r"<(script|style|image|use|a|foreignObject)\b|href|url\(", svg)
    for word in (
        "1\u202f000\u202f000 users",
        "seed 7",
        "Some CPU",
        "21 November 2026, 21:00 UTC",
        "logarithmic",
        "stale: 1.8 ms",
    ):
        assert word in svg
