-- The log, polled by SQL through a logical slot.

-- name: present
select system_identifier::text, pg_snapshot_xmax(pg_current_snapshot())::text::bigint from pg_control_system()

-- name: slot
select s.plugin::text, s.active, s.temporary, s.wal_status, s.database = current_database(),
       (s.confirmed_flush_lsn - '0/0')::bigint,
       to_jsonb(s) ->> 'invalidation_reason'
from pg_replication_slots s where s.slot_name = $1

-- name: create
select (lsn - '0/0')::bigint from pg_create_logical_replication_slot($1, 'pgoutput', true)

-- name: stay
select pg_copy_logical_replication_slot($1, $2, false)

-- name: drop
select pg_drop_replication_slot(slot_name) from pg_replication_slots where slot_name = $1

-- name: give_up
select pg_drop_replication_slot($1)

-- name: published
select exists (select from pg_publication where pubname = $1)

-- name: begin
-- As the decoder reads values; and the cursor's transaction waits while what it has brought is taken care of.
select set_config('datestyle', 'ISO, YMD', true), set_config('intervalstyle', 'iso_8601', true),
       set_config('timezone', 'UTC', true), set_config('bytea_output', 'hex', true),
       set_config('extra_float_digits', '1', true), set_config('idle_in_transaction_session_timeout', '0', true),
       -- How far the log goes; on a replica, how far it was replayed.
       ((case when pg_is_in_recovery() then pg_last_wal_replay_lsn() else pg_current_wal_flush_lsn() end) - '0/0')::bigint

-- name: peek
-- The server collects the whole answer, on disk where it is large; the cursor spares us doing so.
declare tercet_poll no scroll cursor for
select data from pg_logical_slot_peek_binary_changes($1, cast($2::text as pg_lsn), $3::int,
    'proto_version', '1', 'publication_names', $4, 'messages', $5)

-- name: advance
-- Kept by the server at its next checkpoint: after a crash, some of it is told again.
select (end_lsn - '0/0')::bigint from pg_replication_slot_advance($1, cast($2::text as pg_lsn))
