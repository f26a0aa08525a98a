-- The change table, for servers whose log tells no changes: triggers write down what happened, and readers go through
-- it by snapshots. Made by the set-up (tercet.changes.setup.triggers); nothing in it is filled in but quoted names.

-- name: schema
create schema if not exists tercet

-- name: changes
-- Rows come and go all the time: by share of the table, vacuum would come too late.
create table tercet.changes (
    id bigint generated always as identity primary key,
    xid xid8 not null default pg_current_xact_id(),
    at timestamptz not null default clock_timestamp(),
    schema_name text not null,
    table_name text not null,
    kind text not null,
    new_row jsonb,
    old_row jsonb
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000)

-- name: changes_xid
create index changes_xid on tercet.changes (xid)

-- name: places
-- How far each reader is: all that `past` sees is done, and of what only `within` sees, all up to `last`.
create table tercet.places (
    name text primary key,
    past pg_snapshot not null,
    within pg_snapshot,
    last bigint,
    kept_until timestamptz not null
)

-- name: gate
-- Until when somebody wants the changes, in seconds since 1970. A sequence, because its value is no part of any
-- snapshot: a transaction of last night sees that a reader has come since.
create sequence tercet.gate minvalue 0 start 0

-- name: row_changed
-- Arguments of all: the schema and the name under which the table is told, then the columns that nobody wants. A column
-- that has been dropped or renamed since does no harm: the row is told as it is.
create or replace function tercet.row_changed() returns trigger language plpgsql security definer
set search_path = pg_catalog, pg_temp
set bytea_output = 'hex' set intervalstyle = 'iso_8601' set timezone = 'UTC' set extra_float_digits = 1 as $body$
begin
    if (select last_value from tercet.gate) < extract(epoch from clock_timestamp()) then
        return null;
    end if;
    if tg_op = 'UPDATE' then
        insert into tercet.changes (schema_name, table_name, kind, new_row, old_row)
        values (tg_argv[0], tg_argv[1], 'update', to_jsonb(new) - tg_argv[2:],
                nullif(to_jsonb(old) - tg_argv[2:], to_jsonb(new) - tg_argv[2:]));
    elsif tg_op = 'INSERT' then
        insert into tercet.changes (schema_name, table_name, kind, new_row)
        values (tg_argv[0], tg_argv[1], 'insert', to_jsonb(new) - tg_argv[2:]);
    else
        insert into tercet.changes (schema_name, table_name, kind, old_row)
        values (tg_argv[0], tg_argv[1], 'delete', to_jsonb(old) - tg_argv[2:]);
    end if;
    return null;
end $body$

-- name: rows_added
create or replace function tercet.rows_added() returns trigger language plpgsql security definer
set search_path = pg_catalog, pg_temp
set bytea_output = 'hex' set intervalstyle = 'iso_8601' set timezone = 'UTC' set extra_float_digits = 1 as $body$
begin
    if (select last_value from tercet.gate) >= extract(epoch from clock_timestamp()) then
        insert into tercet.changes (schema_name, table_name, kind, new_row)
        select tg_argv[0], tg_argv[1], 'insert', to_jsonb(tercet_rows.*) - tg_argv[2:] from tercet_rows;
    end if;
    return null;
end $body$

-- name: rows_removed
create or replace function tercet.rows_removed() returns trigger language plpgsql security definer
set search_path = pg_catalog, pg_temp
set bytea_output = 'hex' set intervalstyle = 'iso_8601' set timezone = 'UTC' set extra_float_digits = 1 as $body$
begin
    if (select last_value from tercet.gate) >= extract(epoch from clock_timestamp()) then
        insert into tercet.changes (schema_name, table_name, kind, old_row)
        select tg_argv[0], tg_argv[1], 'delete', to_jsonb(tercet_rows.*) - tg_argv[2:] from tercet_rows;
    end if;
    return null;
end $body$

-- name: emptied
create or replace function tercet.emptied() returns trigger language plpgsql security definer
set search_path = pg_catalog, pg_temp as $body$
begin
    if (select last_value from tercet.gate) >= extract(epoch from clock_timestamp()) then
        insert into tercet.changes (schema_name, table_name, kind) values (tg_argv[0], tg_argv[1], 'truncate');
    end if;
    return null;
end $body$

-- name: on_insert
create trigger tercet_feed_insert after insert on {table} referencing new table as tercet_rows
for each statement execute function tercet.rows_added({arguments})

-- name: on_delete
create trigger tercet_feed_delete after delete on {table} referencing old table as tercet_rows
for each statement execute function tercet.rows_removed({arguments})

-- name: on_update
create trigger tercet_feed_update after update on {table}
for each row execute function tercet.row_changed({arguments})

-- name: on_any
-- Of a partitioned table: only a row's trigger is handed down to the partitions, those of the future too.
create trigger tercet_feed_rows after insert or update or delete on {table}
for each row execute function tercet.row_changed({arguments})

-- name: on_truncate
create trigger tercet_feed_truncate after truncate on {table}
for each statement execute function tercet.emptied({arguments})

-- name: enable
-- What a subscription or a restore writes is a change, too.
alter table {table} enable always trigger {trigger}

-- name: drop
drop trigger if exists {trigger} on {table}

-- name: uninstall
drop table if exists tercet.changes, tercet.places

-- name: uninstall_gate
drop sequence if exists tercet.gate

-- name: uninstall_functions
drop function if exists tercet.row_changed(), tercet.rows_added(), tercet.rows_removed(), tercet.emptied()

-- name: system
select system_identifier::text from pg_control_system()

-- name: wanted
-- Whether the changes were wanted all along: a reader that is there has seen to that.
select last_value >= extract(epoch from clock_timestamp())
       and exists (select from tercet.places where kept_until > clock_timestamp())
from tercet.gate

-- name: open_gate
select setval('tercet.gate', greatest(last_value, $1::bigint + extract(epoch from clock_timestamp())::bigint))
from tercet.gate

-- name: snapshot
select pg_current_snapshot()::text

-- name: over
-- Whether all that ran when $1 was taken has ended.
select pg_snapshot_xmin(pg_current_snapshot()) >= pg_snapshot_xmax($1::text::pg_snapshot), pg_current_snapshot()::text

-- name: settle
-- Nobody is kept for longer than the triggers write for him.
insert into tercet.places (name, past, within, last, kept_until)
select $1, $2::text::pg_snapshot, $3::text::pg_snapshot, $4::bigint,
       least(clock_timestamp() + make_interval(secs => $5::float8), to_timestamp(last_value))
from tercet.gate
on conflict (name) do update
set past = excluded.past, within = excluded.within, last = excluded.last, kept_until = excluded.kept_until
returning name

-- name: place
select past::text, within::text, last from tercet.places where name = $1 and kept_until > clock_timestamp()

-- name: move
-- Also how a reader learns that it was away for too long.
update tercet.places
set past = $2::text::pg_snapshot, within = $3::text::pg_snapshot, last = $4::bigint,
    kept_until = least(clock_timestamp() + make_interval(secs => $5::float8),
                       to_timestamp((select last_value from tercet.gate)))
where name = $1 and kept_until > clock_timestamp()
returning true

-- name: leave
delete from tercet.places where name = $1 returning name

-- name: rename
update tercet.places set name = $2 where name = $1 returning name

-- name: evict
delete from tercet.places where kept_until <= clock_timestamp() returning name

-- name: clear
-- What every reader is past of.
with gone as (delete from tercet.changes where id in (
    select c.id from tercet.changes c
    where c.xid < (select pg_snapshot_xmax(p.past) as reach from tercet.places p order by reach limit 1)
      and not exists (select from tercet.places p where not pg_visible_in_snapshot(c.xid, p.past))
    limit $1
) returning id)
select count(*) from gone

-- name: fresh
-- Whether there is anything after the snapshot; the index on xid answers it.
select pg_current_snapshot()::text, exists (
    select from tercet.changes
    where xid >= pg_snapshot_xmin($1::text::pg_snapshot) and not pg_visible_in_snapshot(xid, $1::text::pg_snapshot)
)

-- name: read
-- What `within` sees and `past` does not, transaction by transaction. A transaction that has changed a row after another
-- one wrote its last change after that one's, so by their last ones no row's changes change places.
declare tercet_changes no scroll cursor for
select c.id, c.xid::text::bigint, c.at, c.schema_name, c.table_name, c.kind, c.new_row::text, c.old_row::text, c.last
from (
    select *, max(id) over (partition by xid) as last
    from tercet.changes
    where xid >= pg_snapshot_xmin($1::text::pg_snapshot) and xid < pg_snapshot_xmax($2::text::pg_snapshot)
      and not pg_visible_in_snapshot(xid, $1::text::pg_snapshot)
      and pg_visible_in_snapshot(xid, $2::text::pg_snapshot)
) c
where c.last > $3
order by c.last, c.id

-- name: patient
-- The cursor's transaction waits while what it has brought is taken care of.
select set_config('idle_in_transaction_session_timeout', '0', true)

-- name: types
-- Of each column: the number of its type, beneath all domains, and of its elements where it is an array.
with recursive named as (
    select n.nspname::text as schema_name, c.relname::text as table_name, a.attname::text as name, a.atttypid as type
    from pg_attribute a join pg_class c on c.oid = a.attrelid join pg_namespace n on n.oid = c.relnamespace
    where a.attnum > 0 and not a.attisdropped and c.relkind in ('r', 'p')
      and (n.nspname::text, c.relname::text) in (select * from unnest($1::text[], $2::text[]))
), beneath as (
    select schema_name, table_name, name, type from named
    union
    select b.schema_name, b.table_name, b.name, t.typbasetype
    from beneath b join pg_type t on t.oid = b.type where t.typtype = 'd'
)
select b.schema_name, b.table_name, b.name, t.oid::bigint,
       case when t.typcategory = 'A' then t.typelem::bigint end
from beneath b join pg_type t on t.oid = b.type
where t.typtype <> 'd'

-- name: stands
-- How far behind a reader is, and what holds it or the table up.
select (select count(*) from tercet.changes),
       pg_total_relation_size('tercet.changes'),
       (select extract(epoch from clock_timestamp() - min(at))::float8 from tercet.changes
        where not pg_visible_in_snapshot(xid, (select past from tercet.places where name = $1))),
       (select extract(epoch from clock_timestamp() - min(xact_start))::float8 from pg_stat_activity
        where backend_xid is not null and pid <> pg_backend_pid()),
       (select count(*) from tercet.places)
