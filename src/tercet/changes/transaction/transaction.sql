-- What a transaction is asked of itself right before COMMIT, and of the server when the answer to COMMIT was lost.

-- name: about
select coalesce(pg_current_xact_id_if_assigned()::text, '0'), current_setting('synchronous_commit')

-- name: about, marked
select coalesce(pg_current_xact_id_if_assigned()::text, '0'), current_setting('synchronous_commit'),
       case when pg_current_xact_id_if_assigned() is not null
            then pg_logical_emit_message(true, 'tercet:mark', ''::text) end

-- name: outcome
select pg_xact_status($1::text::xid8)

-- name: end it
-- Whoever still runs it has lost its client; only a backend that is inside this very transaction is met.
select count(pg_terminate_backend(pid)) from pg_stat_activity
where backend_xid = $1::text::xid8::xid

-- name: flushed
select pg_current_wal_flush_lsn()::text

-- name: inserted
select pg_current_wal_insert_lsn()::text
