-- What a feed needs to know of a server. What a newer version has is asked for through to_jsonb of the whole row, so
-- that an older one answers NULL instead of an error.

-- name: server
select current_setting('server_version'),
       current_setting('server_version_num')::int,
       pg_is_in_recovery(),
       current_setting('wal_level'),
       current_setting('max_replication_slots')::int,
       (select count(*) from pg_replication_slots)::int,
       current_setting('max_wal_senders')::int,
       (select count(*) from pg_stat_replication)::int,
       (select setting::bigint * 1024 * 1024 from pg_settings where name = 'max_slot_wal_keep_size'),
       current_user::text,
       current_database()::text,
       (select rolsuper from pg_roles where rolname = current_user),
       (select rolreplication from pg_roles where rolname = current_user)
         -- Managed servers give the right by membership.
         or exists (select from pg_roles r where r.rolname = 'rds_replication'
                    and pg_has_role(current_user, r.oid, 'member')),
       has_database_privilege(current_database(), 'create'),
       to_regclass('tercet.changes') is not null

-- name: slots
with now(lsn) as (
    -- A replica has no place of its own to write at.
    select case when pg_is_in_recovery() then pg_last_wal_replay_lsn() else pg_current_wal_lsn() end
)
select s.slot_name::text,
       s.plugin::text,
       s.temporary,
       s.active,
       s.wal_status,
       s.database = current_database(),
       pg_wal_lsn_diff(now.lsn, s.confirmed_flush_lsn)::bigint,
       pg_wal_lsn_diff(now.lsn, s.restart_lsn)::bigint,
       s.safe_wal_size
from pg_replication_slots s, now
where s.slot_type = 'logical'
order by s.slot_name

-- name: publications
select pubname::text, puballtables, pubinsert, pubupdate, pubdelete, pubtruncate, pubviaroot,
       pg_has_role(pubowner, 'usage')
from pg_publication
order by pubname

-- name: published
-- Column lists and row filters came with PostgreSQL 15.
select t.pubname::text, t.schemaname::text, t.tablename::text,
       array(select jsonb_array_elements_text(to_jsonb(t) -> 'attnames')),
       to_jsonb(t) ->> 'rowfilter'
from pg_publication_tables t

-- name: tables
-- $1: all tables, or only those named by $2 (schemas) and $3 (tables); the leaves of partitioned ones come along.
with roots as (
    select c.oid
    from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where case when $1::bool
               then c.relkind in ('r', 'p') and not c.relispartition and c.relpersistence <> 't'
                    and n.nspname not in ('information_schema', 'tercet') and n.nspname !~ '^pg_'
               else (n.nspname::text, c.relname::text) in (select * from unnest($2::text[], $3::text[]))
          end
      and c.relkind in ('r', 'p', 'f', 'v', 'm')
), found as (
    select oid, oid as root from roots
    union
    select t.relid::oid, r.oid from roots r, pg_partition_tree(r.oid) t where t.isleaf
)
select f.oid::bigint,
       f.root::bigint,
       n.nspname::text,
       c.relname::text,
       c.relkind::text,
       c.relpersistence::text,
       c.relreplident::text,
       array(select a.attname::text
             from pg_index i, unnest(i.indkey) with ordinality k(number, place)
             join pg_attribute a on a.attrelid = c.oid and a.attnum = k.number
             where i.indrelid = c.oid and a.attrelid = i.indrelid and i.indisprimary and i.indisvalid
             order by k.place),
       coalesce((select not i.indimmediate from pg_index i where i.indrelid = c.oid and i.indisprimary), false),
       (select x.relname::text from pg_index i join pg_class x on x.oid = i.indexrelid
        where i.indrelid = c.oid and i.indisreplident and i.indisvalid),
       array(select a.attname::text
             from pg_index i, unnest(i.indkey) with ordinality k(number, place)
             join pg_attribute a on a.attrelid = c.oid and a.attnum = k.number
             where i.indrelid = c.oid and a.attrelid = i.indrelid and i.indisreplident and i.indisvalid
               and k.place <= i.indnkeyatts
             order by k.place),
       cols.names, cols.filled, cols.generated,
       array(select t.tgname::text from pg_trigger t
             where t.tgrelid = c.oid and not t.tgisinternal and t.tgname like 'tercet\_feed\_%'),
       (select encode(t.tgargs, 'hex') from pg_trigger t
        where t.tgrelid = c.oid and not t.tgisinternal and t.tgname in ('tercet_feed_update', 'tercet_feed_rows'))
from found f
join pg_class c on c.oid = f.oid
join pg_namespace n on n.oid = c.relnamespace
cross join lateral (
    select array_agg(a.attname::text order by a.attnum) as names,
           array_agg(a.attnotnull order by a.attnum) as filled,
           array_agg(a.attgenerated <> '' order by a.attnum) as generated
    from pg_attribute a
    where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
) cols
order by f.root, f.oid <> f.root, n.nspname, c.relname

-- name: backend
select pg_backend_pid()
