"""Tags: templates checked where they stand, values that cannot be mistaken for other tags."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from types import SimpleNamespace
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tercet.cache import tag
from tercet.cache.encoding.tags import TAG_CHARS_MAX, TAGS_MAX, filled, plain, templates
from tercet.errors import TemplateMismatch, UsageError


def tags_of(*texts: str, **values: object) -> tuple[str, ...]:
    """What a decorator with these tags makes of these arguments."""
    return filled(templates(texts, function="f", parameters=tuple(values)), tuple(values), tuple(values.values()))


def test_a_template_takes_its_parameters() -> None:
    """Fixed tags, one value, several, and an attribute."""
    user = SimpleNamespace(id=7, team=SimpleNamespace(name="a b"))
    found = tags_of("users", "user:{user.id}", "team:{user.team.name}:{page}", "{{x}}", user=user, page=2)
    assert found == ("users", "user:7", "team:a%20b:2", "{x}")


def test_a_parameter_that_does_not_exist_is_an_error_where_the_decorator_stands() -> None:
    """The error names it, the function, and what the function has."""
    with pytest.raises(TemplateMismatch) as caught:
        templates(["user:{uid}"], function="profile", parameters=["user_id"])
    assert (caught.value.field, caught.value.parameters) == ("uid", ("user_id",))


@pytest.mark.parametrize("text", ["user:{}", "user:{0}", "user:{ user_id}"])
def test_a_place_without_a_parameter_s_name_is_a_mismatch(text: str) -> None:
    """Only names are understood."""
    with pytest.raises(TemplateMismatch):
        templates([text], function="f", parameters=["user_id"])


@pytest.mark.parametrize("text", ["{user_id!r}", "{user_id:>5}", "{user_id.a[0]}", "{user_id", "user_id}", ""])
def test_a_template_that_asks_for_more_is_refused(text: str) -> None:
    """Formats, indexes, a brace too few, nothing at all."""
    with pytest.raises(UsageError):
        templates([text], function="f", parameters=["user_id"])


def test_one_tag_may_be_written_without_a_list() -> None:
    """A text is one tag, not its letters."""
    assert len(templates("users", function="f", parameters=[])) == 1
    assert plain("users", of="f") == ("users",)


@given(st.text(), st.text(), st.text(), st.text())
def test_a_value_cannot_forge_another_tag(a: str, b: str, c: str, d: str) -> None:
    """Whatever the texts are, two places stay two places."""
    assert (tags_of("t:{x}:{y}", x=a, y=b) == tags_of("t:{x}:{y}", x=c, y=d)) is ((a, b) == (c, d))


def test_a_text_with_a_colon_does_not_reach_another_template() -> None:
    """The value 1:admin is not the user 1 and then admin."""
    assert tags_of("user:{x}", x="1:admin") == ("user:1%3Aadmin",)
    assert tag("user:{name}", name="1:admin") == "user:1%3Aadmin"


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (42, "42"),
        ("42", "42"),
        (None, "None"),
        (True, "True"),
        (Decimal("1.5"), "1.5"),
        (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (date(2024, 1, 2), "2024-01-02"),
        (datetime(2024, 1, 2, tzinfo=UTC), "2024-01-02T00%3A00%3A00+00%3A00"),
        (b"a", "61"),
        ("é", "%C3%A9"),
        ("\ud800", "%ED%A0%80"),
    ],
)
def test_a_value_is_written_so_that_people_can_drop_it(value: object, written: str) -> None:
    """Plain words and numbers stay as they are."""
    assert tags_of("{x}", x=value) == (written,)


def test_a_value_without_a_written_form_is_refused_at_the_call() -> None:
    """The error names the tag and the parameter."""
    with pytest.raises(UsageError, match="'user'"):
        tags_of("user:{user}", user=object())
    with pytest.raises(UsageError, match="has none"):
        tags_of("user:{user.id}", user=object())


def test_the_same_tag_twice_is_one() -> None:
    """Versions are read once a tag."""
    assert tags_of("a", "{x}", x="a") == ("a",)


def test_a_very_long_tag_is_cut_to_a_digest() -> None:
    """Its length is bounded and it stays its own, also when it is written out to be dropped."""
    one, other = tags_of("t:{x}", x="a" * 1_000), tags_of("t:{x}", x="a" * 1_001)
    assert len(one[0]) <= TAG_CHARS_MAX
    assert one != other
    assert plain(["t:" + "a" * 1_000], of="f") == one


def test_too_many_tags_are_refused() -> None:
    """Each is read with every entry."""
    with pytest.raises(UsageError, match=str(TAGS_MAX)):
        templates([f"t{number}" for number in range(TAGS_MAX + 1)], function="f", parameters=[])
