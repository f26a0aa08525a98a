-- What is asked of PostgreSQL about slots and publications. The {names} are filled in by the driver: a replication
-- connection takes no parameters. What begins with a command of its own (in capitals) may hold no comment.
-- follow_failover is of PostgreSQL 17: a replica that keeps slots in step (sync_replication_slots) has this one too.

-- name: facts
select current_setting('wal_level'),
       (select setting::bigint from pg_settings where name = 'wal_sender_timeout'),
       pg_current_snapshot()::text,
       exists (select from pg_publication where pubname = {publication}),
       -- A slot that a replica keeps in step: PostgreSQL 17 and newer, and only the primary has such.
       not pg_is_in_recovery()
         and exists (select from pg_attribute where attrelid = 'pg_replication_slots'::regclass and attname = 'failover')

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

-- name: follow_failover
ALTER_REPLICATION_SLOT {slot} (FAILOVER true)

-- name: identify
IDENTIFY_SYSTEM

-- name: stream
START_REPLICATION SLOT {slot} LOGICAL 0/0 (proto_version '1', publication_names {publications})

-- name: stream_messages
START_REPLICATION SLOT {slot} LOGICAL 0/0 (proto_version '1', publication_names {publications}, messages 'true')

-- name: stream_early
START_REPLICATION SLOT {slot} LOGICAL 0/0 (proto_version '2', publication_names {publications}, streaming 'true')

-- name: stream_messages_early
START_REPLICATION SLOT {slot} LOGICAL 0/0
  (proto_version '2', publication_names {publications}, streaming 'true', messages 'true')

-- name: drop_passing
DROP_REPLICATION_SLOT {slot}

-- name: lead
select pg_try_advisory_lock({key}), pg_backend_pid()

-- name: lag
with log as (
  select case when pg_is_in_recovery() then pg_last_wal_replay_lsn() else pg_current_wal_lsn() end as here
)
-- Another backend's number than before: a pooler in between has given our connection to somebody else.
select pg_backend_pid(),
       s.wal_status,
       pg_wal_lsn_diff(log.here, coalesce(s.confirmed_flush_lsn, s.restart_lsn))::bigint,
       pg_wal_lsn_diff(log.here, s.restart_lsn)::bigint,
       -- In megabytes; -1 is without an end.
       (select setting::bigint << 20 from pg_settings where name = 'max_slot_wal_keep_size' and setting <> '-1')
  from log
  left join pg_replication_slots s on s.slot_name = {slot}
