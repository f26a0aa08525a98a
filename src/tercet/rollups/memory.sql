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
    concurrent_seconds double precision,
    -- How often whoever keeps it does so.
    every double precision
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
-- A table that an older tercet has made lacks the last column.
select state, place, as_of, extract(epoch from clock_timestamp() - as_of)::float8, seconds, plain_seconds,
       concurrent_seconds, (to_jsonb(r) ->> 'every')::float8
from tercet.rollups r where name = $1

-- name: whole
select exists (select from pg_attribute where attrelid = to_regclass('tercet.rollups') and attname = 'every'),
       pg_has_role((select relowner from pg_class where oid = to_regclass('tercet.rollups')), 'usage')

-- name: mend
alter table tercet.rollups add column if not exists every double precision

-- name: promised
update tercet.rollups set every = $2::float8 where name = $1 and every is distinct from $2::float8

-- name: forget
delete from tercet.rollups where name = $1

-- name: every_view
-- The materialized views that we have made, and whether their last refreshes can be told.
select format('"%s"."%s"', replace(n.nspname, '"', '""'), replace(c.relname, '"', '""'))
from pg_class c join pg_namespace n on n.oid = c.relnamespace
where c.relkind = 'm' and obj_description(c.oid, 'pg_class') like 'tercet sha256:%'

-- name: every_row
select name, state, extract(epoch from clock_timestamp() - as_of)::float8, seconds, (to_jsonb(r) ->> 'every')::float8
from tercet.rollups r

-- name: may_pause
-- Whether what we read can be left out of the counters.
select current_setting('is_superuser') = 'on'

-- name: pause
set local track_counts = off

-- name: drift
select tercet_groups, tercet_wrong from {differ}(null, null, null)

-- name: stand
-- $1 names, $2 tables of groups, $3 logs, $4 trigger functions, $5 names of locks.
select x.name, v.relkind::text, k.oid is not null, l.oid is not null,
       coalesce(pg_total_relation_size(case v.relkind when 'm' then v.oid else k.oid end), 0),
       coalesce(pg_total_relation_size(l.oid), 0),
       (select count(*) from pg_trigger t where t.tgfoid = to_regproc(x.function)),
       (select count(*) from pg_trigger t where t.tgfoid = to_regproc(x.function) and t.tgenabled in ('D', 'R')),
       exists (
           select from pg_locks b where b.locktype = 'advisory' and b.granted and b.objsubid = 1
             and b.database = (select oid from pg_database where datname = current_database())
             and (b.classid::bigint << 32) | b.objid::bigint = hashtextextended(x.lock, 0)
       ),
       coalesce(v.relispopulated, true)
from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[]) as x (name, kept, log, function, lock)
    left join pg_class v on v.oid = to_regclass(x.name)
    left join pg_class k on k.oid = to_regclass(x.kept)
    left join pg_class l on l.oid = to_regclass(x.log)
order by x.name
