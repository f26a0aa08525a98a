-- What is asked of PostgreSQL about slots and publications. The {names} are filled in by the driver: a replication
-- connection takes no parameters.

-- name: facts
select current_setting('wal_level'),
       (select setting::bigint from pg_settings where name = 'wal_sender_timeout'),
       pg_current_snapshot()::text,
       exists (select from pg_publication where pubname = {publication}),
       -- A slot that a replica keeps in step: PostgreSQL 17 and newer.
       exists (select from pg_attribute where attrelid = 'pg_replication_slots'::regclass and attname = 'failover')

-- name: settle
select set_config({name}, {value}, false)

-- name: slot
select s.database = current_database(), s.slot_type, s.plugin, s.active_pid, s.wal_status, s.confirmed_flush_lsn
  from pg_replication_slots s
 where s.slot_name = {slot}

-- name: drop
select pg_drop_replication_slot(slot_name) from pg_replication_slots where slot_name = {slot}

-- name: create_passing
CREATE_REPLICATION_SLOT {slot} TEMPORARY LOGICAL pgoutput NOEXPORT_SNAPSHOT

-- name: keep
select pg_copy_logical_replication_slot({passing}, {slot}, false)

-- name: identify
IDENTIFY_SYSTEM

-- name: stream
START_REPLICATION SLOT {slot} LOGICAL 0/0 (proto_version {protocol}, publication_names {publications})

-- name: stream_messages
START_REPLICATION SLOT {slot} LOGICAL 0/0 (proto_version {protocol}, publication_names {publications}, messages 'true')

-- name: drop_passing
DROP_REPLICATION_SLOT {slot}

-- name: lead
select pg_try_advisory_lock({key})

-- name: lag
-- The lock is looked for as well: a pooler in between may have given the connection to somebody else.
select exists (
         select from pg_locks
          where locktype = 'advisory' and pid = pg_backend_pid() and granted and objsubid = 1
            and (classid::bigint << 32 | objid::bigint) = {key}::bigint
       ),
       s.wal_status,
       case when s.slot_name is not null then
         pg_wal_lsn_diff(pg_current_wal_lsn(), coalesce(s.confirmed_flush_lsn, s.restart_lsn))::bigint
       end,
       pg_wal_lsn_diff(pg_current_wal_lsn(), s.restart_lsn)::bigint,
       -- In megabytes; -1 is without an end.
       (select setting::bigint << 20 from pg_settings where name = 'max_slot_wal_keep_size' and setting <> '-1')
  from (select) as one
  left join pg_replication_slots s on s.slot_name = {slot}
