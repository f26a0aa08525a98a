-- What the outbox keeps in PostgreSQL, and every statement that it runs there.

-- name: alone
-- Without it, "if not exists" fails for the second of two who both find something missing.
select pg_advisory_xact_lock(hashtextextended('tercet.outbox', 0))

-- name: install
create schema if not exists tercet;
create table if not exists tercet.outbox (
    seq bigint generated always as identity primary key,
    id uuid not null,
    outbox text not null,
    type text not null,
    key text not null,
    content bytea not null,
    -- Whose rows they are: only those of transactions that are over for everybody are handed on.
    xid xid8 not null default pg_current_xact_id(),
    emitted timestamptz not null default clock_timestamp(),
    token uuid,
    leased_until timestamptz
);
create index if not exists outbox_key on tercet.outbox (outbox, key, seq);
create index if not exists outbox_leased on tercet.outbox (outbox, leased_until) where token is not null;
create table if not exists tercet.parked (
    seq bigint generated always as identity primary key,
    id uuid not null,
    outbox text not null,
    -- Nobody's is '': what could not be read.
    consumer text not null,
    type text not null,
    key text not null,
    content bytea not null,
    dead boolean not null default false,
    attempts integer not null default 0,
    due timestamptz not null default now(),
    parked timestamptz not null default now(),
    error text,
    reason text,
    token uuid,
    leased_until timestamptz,
    unique (outbox, consumer, id)
);
create index if not exists parked_lane on tercet.parked (outbox, consumer, key, seq) where not dead;
create index if not exists parked_dead on tercet.parked (outbox, seq) where dead;
create table if not exists tercet.kept (
    id uuid not null,
    outbox text not null,
    type text not null,
    key text not null,
    content bytea not null,
    at timestamptz not null default now(),
    seq bigint generated always as identity,
    primary key (outbox, id)
);
create index if not exists kept_at on tercet.kept (outbox, at);
create table if not exists tercet.inbox (
    consumer text not null,
    id uuid not null,
    at timestamptz not null default now(),
    primary key (consumer, id)
);
create index if not exists inbox_at on tercet.inbox (at);
create table if not exists tercet.consumers (
    outbox text not null,
    consumer text not null,
    types text[] not null,
    seen timestamptz not null default now(),
    primary key (outbox, consumer)
)

-- name: emit_slot
-- Asked of the slot in the same statement: what is said while it is not there would be heard by nobody.
-- wal_status is told since PostgreSQL 13.
with here as materialized (
    select exists (
        select from pg_replication_slots s
        where s.slot_name = :slot and s.database = current_database()
          and s.confirmed_flush_lsn is not null and s.wal_status is distinct from 'lost'
    ) as slot
), said as (
    select pg_logical_emit_message(true, :prefix, m.content)
    from (
        select content from unnest(cast(:contents as bytea[])) with ordinality as e (content, n), here
        where here.slot order by n
    ) m
)
select here.slot, (select count(*) from said) from here

-- name: emit_table
insert into tercet.outbox (id, outbox, type, key, content)
select e.id, :outbox, e.type, e.key, e.content
from unnest(cast(:ids as uuid[]), cast(:types as text[]), cast(:keys as text[]), cast(:contents as bytea[]))
    with ordinality as e (id, type, key, content, n)
order by e.n

-- name: emit_one
-- What emit_auto does for a single event, where it goes into the log; nothing is said where it belongs into the table.
-- That is what most transactions say, and it is half of the work for the server.
select case when exists (
    select from pg_replication_slots s
    where s.slot_name = :slot and s.database = current_database()
      and s.confirmed_flush_lsn is not null and s.wal_status is distinct from 'lost'
) and not exists (
    select from tercet.outbox o where o.outbox = :outbox and o.key = :key
) then pg_logical_emit_message(true, :prefix, cast(:content as bytea)) end is not null

-- name: emit_auto
-- Into the log where the slot is there, and into the table otherwise. While an event of the same key still waits
-- in the table, later ones queue behind it, and those of other keys do not: theirs may be in the log.
with here as materialized (
    select exists (
        select from pg_replication_slots s
        where s.slot_name = :slot and s.database = current_database()
          and s.confirmed_flush_lsn is not null and s.wal_status is distinct from 'lost'
    ) as slot
), said as materialized (
    select e.*, here.slot and not exists (
        select from tercet.outbox o where o.outbox = :outbox and o.key = e.key
    ) as logged
    from unnest(cast(:ids as uuid[]), cast(:types as text[]), cast(:keys as text[]), cast(:contents as bytea[]))
        with ordinality as e (id, type, key, content, n), here
), logged as (
    select pg_logical_emit_message(true, :prefix, m.content)
    from (select content from said where logged order by n) m
), kept as (
    insert into tercet.outbox (id, outbox, type, key, content)
    select e.id, :outbox, e.type, e.key, e.content from said e
    where not e.logged
    order by e.n
)
select here.slot, (select count(*) from logged) from here

-- name: fresh
-- Each statement has to see what was claimed before it, whatever the database's default is.
set transaction isolation level read committed

-- name: turn
-- Who claims is alone until the commit, and took its turn before the statement that looks: two at once could not
-- see each other's keys.
select pg_try_advisory_xact_lock(hashtextextended('tercet.outbox claim ' || cast(:outbox as text), 0))

-- name: claim_table
with leased as materialized (
    select distinct o.key from tercet.outbox o
    where o.outbox = :outbox and o.token is not null and o.leased_until > clock_timestamp()
), next as (
    select o.seq from tercet.outbox o
    where o.outbox = :outbox
      and o.xid < pg_snapshot_xmin(pg_current_snapshot())
      and o.key not in (select key from leased)
    order by o.seq
    limit :most
    for update of o skip locked
), taken as (
    update tercet.outbox o
    set token = cast(:token as uuid), leased_until = clock_timestamp() + make_interval(secs => :lease)
    from next where o.seq = next.seq
    returning o.seq, o.content
)
select seq, content from taken order by seq

-- name: renew_table
update tercet.outbox set leased_until = clock_timestamp() + make_interval(secs => :lease)
where outbox = :outbox and token = any (cast(:tokens as uuid[]))

-- name: release_table
delete from tercet.outbox where seq = any (cast(:seqs as bigint[])) and token = cast(:token as uuid)

-- name: barred
-- Which lanes have something that waits, which of these are dead already, and whom we do not know yet.
select 'lane' as what, p.consumer, p.key from tercet.parked p
join unnest(cast(:consumers as text[]), cast(:keys as text[])) as l (consumer, key) using (consumer, key)
where p.outbox = :outbox and not p.dead
union
select 'dead', p.consumer, p.id::text from tercet.parked p
join unnest(cast(:consumers as text[]), cast(:ids as uuid[])) as d (consumer, id) using (consumer, id)
where p.outbox = :outbox and p.dead
union
select 'new', c.consumer, array_to_string(c.types, chr(10)) from tercet.consumers c
where c.outbox = :outbox and c.seen > now() - make_interval(secs => :within)
  and c.consumer || chr(10) || array_to_string(c.types, chr(10)) <> all (cast(:known as text[]))

-- name: park
insert into tercet.parked
    (id, outbox, consumer, type, key, content, dead, attempts, due, error, reason, token, leased_until)
select p.id, :outbox, p.consumer, p.type, p.key, p.content, p.dead, p.attempts,
    now() + make_interval(secs => p.wait), nullif(p.error, ''), nullif(p.reason, ''),
    case when p.leased then cast(:token as uuid) end,
    case when p.leased then now() + make_interval(secs => :lease) end
from unnest(cast(:ids as uuid[]), cast(:consumers as text[]), cast(:types as text[]), cast(:keys as text[]),
            cast(:contents as bytea[]), cast(:deads as boolean[]), cast(:attempts as integer[]),
            cast(:waits as float8[]), cast(:errors as text[]), cast(:reasons as text[]), cast(:leased as boolean[]))
    with ordinality as p (id, consumer, type, key, content, dead, attempts, wait, error, reason, leased, n)
order by p.n
on conflict (outbox, consumer, id) do nothing

-- name: claim_parked
-- The beginnings of lanes whose first event is due and nobody's.
with heads as materialized (
    select distinct on (p.consumer, p.key) p.consumer, p.key, p.due, p.token, p.leased_until
    from tercet.parked p
    where p.outbox = :outbox and not p.dead
      and (p.consumer = any (cast(:consumers as text[]))
           or (p.consumer = '' and p.type = any (cast(:types as text[]))))
    order by p.consumer, p.key, p.seq
), lanes as (
    select h.consumer, h.key from heads h
    where h.due <= clock_timestamp()
      and (h.token is null or h.leased_until <= clock_timestamp())
    order by h.due
    limit :lanes
), next as (
    select n.seq from lanes l cross join lateral (
        select p.seq from tercet.parked p
        where p.outbox = :outbox and p.consumer = l.consumer and p.key = l.key and not p.dead
        order by p.seq
        limit :most
    ) n
), taken as (
    update tercet.parked p
    set token = cast(:token as uuid), leased_until = clock_timestamp() + make_interval(secs => :lease)
    from next where p.seq = next.seq and not p.dead
    returning p.seq, p.id, p.consumer, p.type, p.key, p.content, p.attempts
)
select seq, id::text, consumer, type, key, content, attempts from taken order by seq

-- name: renew_parked
update tercet.parked set leased_until = clock_timestamp() + make_interval(secs => :lease)
where outbox = :outbox and token = any (cast(:tokens as uuid[])) and not dead

-- name: settle_done
delete from tercet.parked
where outbox = :outbox and token = cast(:token as uuid)
  and (consumer, id) in (
      select * from unnest(cast(:consumers as text[]), cast(:ids as uuid[]))
  )

-- name: settle_rest
-- What failed waits or is dead, and what was not begun is let go of.
update tercet.parked p
set token = null, leased_until = null, dead = s.dead, attempts = s.attempts,
    due = case when s.failed then now() + make_interval(secs => s.wait) else p.due end,
    error = coalesce(nullif(s.error, ''), p.error), reason = coalesce(nullif(s.reason, ''), p.reason)
from unnest(cast(:ids as uuid[]), cast(:consumers as text[]), cast(:deads as boolean[]),
            cast(:attempts as integer[]), cast(:waits as float8[]), cast(:errors as text[]),
            cast(:reasons as text[]), cast(:failed as boolean[]))
    as s (id, consumer, dead, attempts, wait, error, reason, failed)
where p.outbox = :outbox and p.consumer = s.consumer and p.id = s.id and p.token = cast(:token as uuid)

-- name: keep
insert into tercet.kept (id, outbox, type, key, content)
select k.id, :outbox, k.type, k.key, k.content
from unnest(cast(:ids as uuid[]), cast(:types as text[]), cast(:keys as text[]), cast(:contents as bytea[]))
    with ordinality as k (id, type, key, content, n)
order by k.n
on conflict (outbox, id) do nothing

-- name: prune_kept
delete from tercet.kept where (outbox, id) in (
    select outbox, id from tercet.kept
    where outbox = :outbox and at < now() - make_interval(secs => :older) order by at limit :most
)

-- name: prune_inbox
delete from tercet.inbox where (consumer, id) in (
    select consumer, id from tercet.inbox where at < now() - make_interval(secs => :older) order by at limit :most
)

-- name: mark
insert into tercet.inbox (consumer, id) values (:consumer, cast(:id as uuid)) on conflict do nothing returning id

-- name: enrol
insert into tercet.consumers (outbox, consumer, types)
select :outbox, c.consumer, string_to_array(c.types, chr(10))
from unnest(cast(:consumers as text[]), cast(:types as text[])) as c (consumer, types)
order by c.consumer
on conflict (outbox, consumer) do update set types = excluded.types, seen = now()

-- name: enrolled
select consumer, types from tercet.consumers
where outbox = :outbox and seen > now() - make_interval(secs => :within)

-- name: counts
select
    (select count(*) from tercet.outbox where outbox = :outbox),
    (select count(*) from tercet.parked where outbox = :outbox and not dead),
    (select count(*) from tercet.parked where outbox = :outbox and dead),
    (select count(*) from tercet.kept where outbox = :outbox),
    (select extract(epoch from clock_timestamp() - min(at))::float8 from (
        (select emitted as at from tercet.outbox where outbox = :outbox order by seq limit 1)
        union all (select parked from tercet.parked where outbox = :outbox and not dead order by seq limit 1)
    ) oldest)

-- name: there
select to_regclass('tercet.outbox') is not null

-- name: outboxes
select distinct outbox from (
    select outbox from tercet.outbox union select outbox from tercet.parked
    union select outbox from tercet.kept union select outbox from tercet.consumers
) o order by outbox

-- name: consumers
select c.consumer, c.types, extract(epoch from clock_timestamp() - c.seen)::float8,
    count(p.seq) filter (where not p.dead), count(p.seq) filter (where p.dead),
    (array_agg(p.error order by p.seq) filter (where p.error is not null))[1]
from tercet.consumers c left join tercet.parked p using (outbox, consumer)
where c.outbox = :outbox
group by c.consumer, c.types, c.seen
order by c.consumer

-- name: slots
-- Every slot of this database that decodes, how far it lags, and who reads it.
select s.slot_name, s.plugin, s.temporary, s.active, s.wal_status,
    pg_wal_lsn_diff(case when pg_is_in_recovery() then pg_last_wal_replay_lsn() else pg_current_wal_lsn() end,
                    s.confirmed_flush_lsn)::bigint,
    s.safe_wal_size,
    case when a.pid is not null
         then 'process ' || a.pid || coalesce(nullif(' (' || a.application_name || ')', ' ()'), '') end
from pg_replication_slots s left join pg_stat_activity a on a.pid = s.active_pid
where s.database = current_database()
order by s.slot_name

-- name: dead
select seq, id::text, consumer, type, key, attempts, parked, error, reason, content
from tercet.parked where outbox = :outbox and dead and seq > :after order by seq limit :most

-- name: revive
-- Behind whatever waits in its lane by now; a new number says so.
with gone as (
    -- What has no type is no event at all: it would only lie there as another state of the same.
    delete from tercet.parked where outbox = :outbox and dead and type <> ''
      and (:every or id = any (cast(:ids as uuid[])))
    returning id, outbox, consumer, type, key, content, seq
), again as (
    insert into tercet.parked (id, outbox, consumer, type, key, content)
    select id, outbox, consumer, type, key, content from gone order by seq returning 1
)
select count(*) from again

-- name: drop_dead
with gone as (
    delete from tercet.parked where outbox = :outbox and dead and (:every or id = any (cast(:ids as uuid[]))) returning 1
)
select count(*) from gone

-- name: replay
with again as (
    insert into tercet.parked (id, outbox, consumer, type, key, content)
    select k.id, k.outbox, :consumer, k.type, k.key, k.content from tercet.kept k
    where k.outbox = :outbox and k.type = any (select unnest(types) from tercet.consumers c
                                               where c.outbox = k.outbox and c.consumer = :consumer)
      and (:every or k.id = any (cast(:ids as uuid[])))
      and k.at >= cast(:since as timestamptz) and k.at < cast(:until as timestamptz)
    order by k.seq
    on conflict (outbox, consumer, id) do nothing
    returning 1
)
select count(*) from again
