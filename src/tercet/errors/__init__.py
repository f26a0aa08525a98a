"""Every error that tercet raises, in one tree.

    TercetError                  .says .mend .retryable
    ├── UsageError               the program is wrong; running it again will not help
    │   ├── SettingUnknown       a name nobody knows, with the nearest one that exists
    │   ├── SettingInvalid       a value that cannot be meant, with what would be
    │   ├── SettingsUnreadable   tercet.toml is broken: where, and what is wrong there
    │   ├── ExtraMissing         a package that this feature needs is not installed
    │   ├── StoreMissing         a feature was used whose store this Tercet does not have
    │   ├── BudgetExceeded       the pools asked for do not fit into the server
    │   ├── NotOpen              used before it was opened or after it was closed
    │   ├── WrongLoop            used from another event loop or process than it was opened in
    │   ├── TemplateMismatch     a tag or key names a parameter that the function does not have
    │   ├── SqlInvalid           PostgreSQL's grammar refuses this text
    │   ├── SchemaInvalid        a name, an index or a view that PostgreSQL would refuse
    │   ├── PublicationUnsafe    a feed's set-up would break the program's own writes: .problems
    │   ├── DocumentInvalid      a text is not the document it should be (a plan, a ladder)
    │   ├── NotComparable        a value has no form in which two answers could be compared
    │   ├── CommandInvalid       a command that cannot be sent, or not on a connection that is shared
    │   ├── LayerUnknown         a cache layer nobody knows, with the nearest one that exists
    │   ├── Unkeyable            an argument of which no cache key can be made
    │   ├── Uncacheable          a type or value that would not come back from a cache as it went in
    │   ├── EntityInvalid        a field of an entity is declared as it cannot be read or written
    │   └── SessionDataInvalid   what a session cannot carry: too large, or not what it was when it comes back
    ├── StoreError               .store; a store did not do what it was asked
    │   ├── ServerMissing        no server to start: not given, not on PATH, not in a wheel
    │   ├── ServerFailed         a server of ours did not come up, with the end of its log
    │   ├── StoreUnreachable     retryable; nobody answers
    │   ├── LoginRefused         the store answers and does not let us in
    │   ├── PoolExhausted        retryable; .size .waited .held .holder
    │   ├── DeadlinePassed       retryable; the store was too slow
    │   ├── CommitUnknown        .xid; the answer to a COMMIT was lost
    │   ├── CommandRefused       .code .reason; Redis answered a command with an error
    │   ├── DefinitionMismatch   an index or view of that name exists and is another one
    │   ├── StatisticsMissing    .reason; the server has counted no statements that could be looked at
    │   ├── EntityMissing        .key; a store that an entity cannot do without has nothing under its key
    │   ├── FieldMismatch        what a store holds is not of the type that an entity's field has
    │   ├── FeedBroken           .reason; what a feed of changes was sent cannot be read
    │   ├── PositionLost         retryable; .place: changes that were not read yet are gone from the store
    │   └── FeedRefused          the store does not tell its changes: set-up, rights, or no slot left
    └── Refused                  tercet itself says no
        ├── FolderBusy           another process holds this folder
        ├── LockBusy             retryable; somebody else is doing it right now
        ├── AdviceStale          .reason: the database is not what it was when advice was given
        ├── BuildBlocked         retryable; .blockers: old transactions stand in the way of a build
        ├── LoadTimeout          retryable; a cached function takes longer than its callers wait
        ├── RateExceeded         retryable; more was asked for than a limit allows: .retry_after
        ├── SessionConflict      somebody else has changed the session since it was read
        ├── SessionGone          the session has ended: revoked, expired, or never was
        ├── LockLost             retryable; .name .token: a lock ended under the work that it guarded
        ├── FencedOff            retryable; .name .token .newest: somebody has had the lock since
        └── ProofFailed          .verdict: not faster, or not the same rows

An error's facts are its fields; its sentence is built from them, and a second sentence says how to mend it.
No secret enters one: addresses are masked before they get here.
"""

from tercet.errors.refused import (
    AdviceStale,
    BuildBlocked,
    FencedOff,
    FolderBusy,
    LoadTimeout,
    LockBusy,
    LockLost,
    ProofFailed,
    RateExceeded,
    SessionConflict,
    SessionGone,
)
from tercet.errors.store import (
    CommandRefused,
    CommitUnknown,
    DeadlinePassed,
    DefinitionMismatch,
    EntityMissing,
    FeedBroken,
    FeedRefused,
    FieldMismatch,
    LoginRefused,
    PoolExhausted,
    PositionLost,
    ServerFailed,
    ServerMissing,
    StatisticsMissing,
    StoreUnreachable,
)
from tercet.errors.tree import (
    Refused,
    StoreError,
    TercetError,
    UsageError,
)
from tercet.errors.usage import (
    BudgetExceeded,
    CommandInvalid,
    DocumentInvalid,
    EntityInvalid,
    ExtraMissing,
    LayerUnknown,
    NotComparable,
    NotOpen,
    PublicationUnsafe,
    SchemaInvalid,
    SessionDataInvalid,
    SettingInvalid,
    SettingsUnreadable,
    SettingUnknown,
    SqlInvalid,
    StoreMissing,
    TemplateMismatch,
    Uncacheable,
    Unkeyable,
    WrongLoop,
)

__all__ = [
    "AdviceStale",
    "BudgetExceeded",
    "BuildBlocked",
    "CommandInvalid",
    "CommandRefused",
    "CommitUnknown",
    "DeadlinePassed",
    "DefinitionMismatch",
    "DocumentInvalid",
    "EntityInvalid",
    "EntityMissing",
    "ExtraMissing",
    "FeedBroken",
    "FeedRefused",
    "FencedOff",
    "FieldMismatch",
    "FolderBusy",
    "LayerUnknown",
    "LoadTimeout",
    "LockBusy",
    "LockLost",
    "LoginRefused",
    "NotComparable",
    "NotOpen",
    "PoolExhausted",
    "PositionLost",
    "ProofFailed",
    "PublicationUnsafe",
    "RateExceeded",
    "Refused",
    "SchemaInvalid",
    "ServerFailed",
    "ServerMissing",
    "SessionConflict",
    "SessionDataInvalid",
    "SessionGone",
    "SettingInvalid",
    "SettingUnknown",
    "SettingsUnreadable",
    "SqlInvalid",
    "StatisticsMissing",
    "StoreError",
    "StoreMissing",
    "StoreUnreachable",
    "TemplateMismatch",
    "TercetError",
    "Uncacheable",
    "Unkeyable",
    "UsageError",
    "WrongLoop",
]
