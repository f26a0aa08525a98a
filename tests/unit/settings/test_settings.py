"""Settings: where they come from, what they refuse, and that they keep secrets."""

from __future__ import annotations

import copy
import pickle
from dataclasses import asdict, fields
from pathlib import Path
from typing import get_type_hints
from urllib.parse import quote

import msgspec
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tercet.errors import SettingInvalid, SettingsUnreadable, SettingUnknown
from tercet.settings import FILE, Settings, SettingWords, Url, mask, names

PASSWORDS = st.text(st.characters(exclude_categories=["Cs"]), min_size=6, max_size=30)
SECRET = "s3cret-hunter2"


def read(tmp_path: Path, file: str = "", environ: dict[str, str] | None = None, **arguments: object) -> Settings:
    """Settings out of these sources and nothing of this machine."""
    if file:
        (tmp_path / FILE).write_text(file)
    return Settings.read(arguments, environ=environ or {}, folder=tmp_path)


def test_the_first_of_argument_environment_file_and_default_wins(tmp_path: Path) -> None:
    """Each source hides the ones behind it, and the settings remember which one it was."""
    file = "instances = 3\n[postgres]\npool_size = 30\npool_wait = '3s'"
    environ = {"TERCET_POSTGRES_POOL_SIZE": "20", "TERCET_INSTANCES": "2"}
    settings = read(tmp_path, file, environ, postgres_pool_size=10)
    origins = dict(settings.origins)
    assert [
        (settings.postgres_pool_size, origins["postgres_pool_size"]),
        (settings.instances, origins["instances"]),
        (settings.postgres_pool_wait, origins["postgres_pool_wait"]),
        (settings.redis_timeout, origins["redis_timeout"]),
    ] == [(10, "argument"), (2, "environment"), (3.0, "file"), (5.0, "default")]


@given(st.lists(st.sampled_from(["argument", "environment", "file"]), unique=True), st.sampled_from(names()))
def test_every_setting_has_the_same_name_in_every_source(sources: list[str], name: str) -> None:
    """Whichever sources give a setting, the strongest of them is the one that counts."""
    texts = {"argument": "7", "environment": "8", "file": "9"}
    if name.endswith("_url"):
        texts = {
            k: f"{ {'p': 'postgresql', 'm': 'mongodb', 'r': 'redis'}[name[0]] }://h{v}/d" for k, v in texts.items()
        }
    elif name in {"postgres_pooler", "postgres_critical", "mongo_critical", "redis_critical"}:
        texts = {"argument": "yes", "environment": "no", "file": "on"}
    elif name == "postgres_tls":
        texts = {"argument": "require", "environment": "disable", "file": "prefer"}
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        table, _, key = (
            name.partition("_") if name.partition("_")[0] in {"postgres", "mongo", "redis"} else ("", "", name)
        )
        if "file" in sources:
            head = f"[{table}]\n" if table else ""
            (Path(folder) / FILE).write_text(f"{head}{key} = '{texts['file']}'")
        environ = {f"TERCET_{name.upper()}": texts["environment"]} if "environment" in sources else {}
        arguments = {name: texts["argument"]} if "argument" in sources else {}
        got = dict(Settings.read(arguments, environ=environ, folder=Path(folder)).origins)[name]
    strongest = next((one for one in ("argument", "environment", "file") if one in sources), "default")
    assert strongest == got


def test_the_short_names_of_the_stores_are_their_addresses(tmp_path: Path) -> None:
    """Tercet(postgres=…) is Tercet(postgres_url=…)."""
    settings = read(tmp_path, postgres="postgresql://h/d", redis="redis://h")
    assert settings.stores == ("postgres", "redis")
    assert settings.url("postgres").reveal() == "postgresql://h/d"  # type: ignore[union-attr]  # given above


@pytest.mark.parametrize(
    "given",
    ["postgresql://a/d  postgres://b:5433/d", ["postgresql://a/d", "postgres://b:5433/d"]],
    ids=["as a text", "as a list"],
)
def test_replicas_are_several_addresses(tmp_path: Path, given: str | list[str]) -> None:
    """As one text with blanks, or as a list, which a file may give too; each has settings of its own."""
    written = f"[postgres]\nurl = 'postgresql://p/d'\npool_size = 3\nreplica_url = {given!r}"
    for settings in (
        read(tmp_path, postgres="postgresql://p/d", postgres_replica_url=given, postgres_pool_size=3),
        read(tmp_path, written),
    ):
        assert [one.url("postgres").reveal() for one in settings.replicas] == [  # type: ignore[union-attr]  # given above
            "postgresql://a/d",
            "postgres://b:5433/d",
        ]
        assert {(one.postgres_pool_size, one.replicas) for one in settings.replicas} == {(3, ())}


def test_without_an_address_there_are_no_replicas(tmp_path: Path) -> None:
    """Nothing is computed out of nothing."""
    assert read(tmp_path, postgres="postgresql://p/d").replicas == ()


def test_a_refused_list_of_replicas_shows_no_password(tmp_path: Path) -> None:
    """The sentence masks each of them."""
    with pytest.raises(SettingInvalid) as caught:
        read(tmp_path, postgres_replica_url=["postgresql://u:hunter2secret@h/d", "mysql://u:hunter2secret@h/d"])
    assert "hunter2secret" not in str(caught.value)


def test_nothing_given_counts_as_not_given(tmp_path: Path) -> None:
    """None as an argument and an empty variable leave the next source its say."""
    settings = read(tmp_path, "[redis]\nurl = 'redis://file'", {"TERCET_REDIS_URL": ""}, redis=None)
    assert settings.url("redis").reveal() == "redis://file"  # type: ignore[union-attr]  # given above


@pytest.mark.parametrize(
    ("file", "environ", "arguments", "sentence"),
    [
        ("", {}, {"postgres_pool_sise": 3}, "An argument sets 'postgres_pool_sise', which tercet"),
        ("", {}, {"postgres_pool_sise": 3}, "Did you mean 'postgres_pool_size'?"),
        ("", {"TERCET_POSTGRES_POOLSIZE": "3"}, {}, "Did you mean 'TERCET_POSTGRES_POOL_SIZE'?"),
        ("", {"TERCET_POSTGRES_XYZZY": "3"}, {}, "Known are: TERCET_POSTGRES_URL, "),
        ("", {"TERCET_INSTANCE": "3"}, {}, "Did you mean 'TERCET_INSTANCES'?"),
        ("[postgres]\npool_sizes = 3", {}, {}, "Did you mean 'pool_size'?"),
        ("[postgre]\npool_size = 3", {}, {}, "Did you mean '[postgres]'?"),
        ("instanzes = 3", {}, {}, "Did you mean 'instances'?"),
        ("colour = 3", {}, {}, "Known are: instances, application_name"),
    ],
)  # fmt: skip
def test_an_unknown_name_is_answered_with_the_nearest(
    tmp_path: Path, file: str, environ: dict[str, str], arguments: dict[str, object], sentence: str
) -> None:
    """A typing error is not silently ignored, wherever it was made."""
    with pytest.raises(SettingUnknown) as caught:
        read(tmp_path, file, environ, **arguments)
    assert sentence in str(caught.value)


def test_names_of_other_parts_are_left_alone(tmp_path: Path) -> None:
    """A variable or table that looks like no setting of ours belongs to somebody else."""
    settings = read(tmp_path, "[cache]\nttl = '5m'", {"TERCET_PG_HOME": "/x", "TERCET_MONGOD": "/y", "HOME": "/z"})
    assert settings.stores == ()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("postgres_pool_size", 0), ("postgres_pool_size", "many"), ("postgres_pool_size", True),
        ("postgres_pool_size", 2.5), ("instances", -1), ("redis_timeout", "5 parsecs"), ("redis_timeout", 0),
        ("redis_timeout", float("nan")), ("redis_timeout", "1e9d"), ("mongo_timeout", []),
        ("postgres_pooler", "perhaps"), ("postgres_tls", "always"), ("postgres_url", "mysql://h/d"),
        ("postgres_url", "h/d"), ("postgres_url", 5), ("redis_url", "redis://h:port"), ("mongo_url", ""),
        ("postgres_replica_url", "  "), ("postgres_replica_url", []), ("postgres_replica_url", 5),
        ("postgres_replica_url", "postgresql://a/d,mysql://h"), ("postgres_replica_url", [5]),
        ("application_name", "two words"), ("application_name", "x" * 64), ("postgres_tls_ca", ""),
    ],
)  # fmt: skip
def test_a_value_that_cannot_be_meant_is_refused_with_what_would_be(tmp_path: Path, name: str, value: object) -> None:
    """The sentence names the setting, the value and what it should be."""
    with pytest.raises(SettingInvalid) as caught:
        Settings.read({name: value}, environ={}, folder=tmp_path)
    assert (name, True) == (caught.value.name, "It should be " in str(caught.value))


def test_a_broken_file_is_named_with_its_line(tmp_path: Path) -> None:
    """A file that is no TOML, no text or no file says where and why, and nothing of it is used."""
    with pytest.raises(SettingsUnreadable, match=r"tercet.toml cannot be read at line 2, column 10: Invalid value"):
        read(tmp_path, "instances = 1\nbroken = x")
    (tmp_path / FILE).write_bytes(b"x = '\xff'")
    with pytest.raises(SettingsUnreadable, match="at byte 5: it is not UTF-8"):
        read(tmp_path)
    (tmp_path / FILE).unlink()
    (tmp_path / FILE).mkdir()
    with pytest.raises(SettingsUnreadable, match="Is a directory"):
        read(tmp_path)


@given(PASSWORDS, st.sampled_from(["postgresql", "mongodb", "redis", "rediss"]), st.booleans())
def test_a_masked_address_shows_no_password(password: str, scheme: str, encoded: bool) -> None:
    """Neither a well-formed address nor one with a raw password in it gives the password away."""
    assume(password not in f"{scheme}://user:***@host.example:1234/shop?sslmode=require")
    written = quote(password, safe="") if encoded else password
    shown = mask(f"{scheme}://user:{written}@host.example:1234/shop?sslmode=require")
    assert password not in shown
    assert quote(password, safe="") not in shown
    assert shown.endswith("@host.example:1234/shop?sslmode=require")


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://h/d?password=x1y2&sslmode=require", "postgresql://h/d?password=***&sslmode=require"),
        ("postgresql://h/d?sslpassword=x1y2", "postgresql://h/d?sslpassword=***"),
        (
            "mongodb://h/?authMechanismProperties=AWS_SESSION_TOKEN:x1y2",
            "mongodb://h/?authMechanismProperties=***",
        ),
        ("mongodb://h/?tlsCertificateKeyFilePassword=x1y2", "mongodb://h/?tlsCertificateKeyFilePassword=***"),
        ("redis://:x1y2@h:6379/0", "redis://:***@h:6379/0"),
        ("host=h password='x1 y2' user=u", "host=h password=*** user=u"),
        ("u:x1y2@h/d", "u:***@h/d"),
        ("postgresql://u@h/d", "postgresql://u@h/d"),
        ("unix:///run/redis.sock?db=1", "unix:///run/redis.sock?db=1"),
        ("", ""),
    ],
)
def test_mask_hides_secrets_wherever_they_stand(url: str, shown: str) -> None:
    """In credentials, in the query and in the keyword form; the rest stays readable."""
    assert shown == mask(url)


def test_settings_show_no_secret_in_any_form(tmp_path: Path) -> None:
    """repr, str, JSON and errors are masked; a pickle is refused rather than made useless."""
    settings = read(tmp_path, postgres=f"postgresql://u:{SECRET}@h/d", mongo=f"mongodb://h/d?x=1&password={SECRET}")
    shown = [repr(settings), str(settings), repr(asdict(settings)), str(settings.url("mongo"))]
    shown.append(msgspec.json.encode(settings, enc_hook=str).decode())
    with pytest.raises(SettingInvalid) as caught:
        read(tmp_path, redis=f"reddis://:{SECRET}@h")
    shown += [str(caught.value), repr(caught.value)]
    assert [text for text in shown if SECRET in text] == []
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(settings)
    assert settings == copy.deepcopy(settings)


def test_an_address_knows_its_place() -> None:
    """Host and port without login, for every form an address has."""
    places = [
        Url(text).place
        for text in (
            "postgresql://u:p@h:5432/d",
            "mongodb://u:p@h1:1,h2:2/d?replicaSet=r",
            "unix:///run/redis.sock",
            "postgresql:///d?host=/run/postgresql",
        )
    ]
    assert places == ["h:5432", "h1:1,h2:2", "/run/redis.sock", "/run/postgresql"]


def test_the_typed_arguments_are_exactly_the_settings() -> None:
    """What a type checker lets pass as an argument is what there is."""
    assert list(names()) == list(get_type_hints(SettingWords))
    assert list(names()) == [one.name for one in fields(Settings) if one.name != "origins"]
