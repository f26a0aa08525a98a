-- What is remembered of views and rollups, in the database itself: it outlives processes, and all of them see it.

-- name: able
select to_regclass('tercet.rollups') is not null,
       coalesce(has_table_privilege(to_regclass('tercet.rollups'), 'select, insert, update, delete'), false),
       to_regnamespace('tercet') is not null,
       coalesce(has_schema_privilege(to_regnamespace('tercet'), 'create'), has_database_privilege(current_database(), 'create'))

-- name: one_maker
select pg_advisory_xact_lock(hashtextextended('the table tercet.rollups', 0))

-- name: schema
create schema if not exists tercet

-- name: table
create table if not exists tercet.rollups (
    name text primary key,
    -- Of a rollup: "filling" up to `place`, or "ready".
    state text not null default 'ready',
    place text,
    -- All that was committed before is in it.
    as_of timestamptz,
    seconds double precision,
    plain_seconds double precision,
    concurrent_seconds double precision
)

-- name: refreshed
insert into tercet.rollups (name, as_of, seconds, plain_seconds, concurrent_seconds)
values ($1::text, transaction_timestamp(), $2::float8, case when not $3 then $2::float8 end, case when $3 then $2::float8 end)
on conflict (name) do update
set as_of = excluded.as_of, seconds = excluded.seconds,
    plain_seconds = coalesce(excluded.plain_seconds, rollups.plain_seconds),
    concurrent_seconds = coalesce(excluded.concurrent_seconds, rollups.concurrent_seconds)

-- name: filled
insert into tercet.rollups (name, state, place) values ($1::text, $2::text, $3::text)
on conflict (name) do update
set state = excluded.state, place = excluded.place,
    as_of = case when excluded.state = 'ready' then transaction_timestamp() else rollups.as_of end

-- name: known
select state, place, as_of, extract(epoch from clock_timestamp() - as_of)::float8, seconds, plain_seconds,
       concurrent_seconds
from tercet.rollups where name = $1

-- name: forget
delete from tercet.rollups where name = $1
