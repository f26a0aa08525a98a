-- name: blockers
-- $1 is a table's quoted name. CREATE INDEX CONCURRENTLY waits for those who may write to the table, and then for
-- every snapshot of this database that is older than its own. Autovacuum gives way by itself, unless it prevents a
-- wraparound; a VACUUM's snapshot is not waited for.
with tree as (
    select to_regclass($1)::oid as relid
    union
    select t.relid::oid from pg_partition_tree(to_regclass($1)) t
), held as (
    select l.pid, l.virtualtransaction
    from pg_locks l
    where l.locktype = 'relation' and l.granted
        and l.database = (select d.oid from pg_database d where d.datname = current_database())
        and l.relation in (select t.relid from tree t)
        and l.mode in ('RowExclusiveLock', 'ShareUpdateExclusiveLock', 'ShareRowExclusiveLock', 'ExclusiveLock',
                       'AccessExclusiveLock')
)
select a.pid, '' as gid, coalesce(a.usename::text, ''), coalesce(a.application_name, ''), coalesce(a.state, ''),
    extract(epoch from clock_timestamp() - a.xact_start)::float8,
    extract(epoch from clock_timestamp() - a.query_start)::float8,
    exists (select from held h where h.pid = a.pid)
from pg_stat_activity a
where a.datname = current_database() and a.pid <> pg_backend_pid() and not a.pid = any($2::int[])
    and (a.backend_xmin is not null or exists (select from held h where h.pid = a.pid))
    and not exists (select from pg_stat_progress_vacuum v
                    where v.pid = a.pid and (a.backend_type = 'client backend' or a.query !~ 'wraparound'))
    and not (a.backend_type = 'autovacuum worker' and coalesce(a.query, '') !~ 'wraparound')
    and (a.xact_start is null or a.xact_start < clock_timestamp() - make_interval(secs => $3::float8))
union all
select null, p.gid, p.owner::text, '', 'prepared', extract(epoch from clock_timestamp() - p.prepared)::float8, null,
    true
from pg_prepared_xacts p
where p.database = current_database()
    -- Its locks go by the name of the transaction that it once was, or of none after a restart.
    and exists (select from held h join pg_locks o using (virtualtransaction)
                where h.pid is null and o.pid is null and o.locktype = 'transactionid'
                    and o.transactionid = p.transaction)
order by 6 desc nulls first

-- name: progress
-- $1 is the index's quoted name, $2 its table's. The index has no row here before it has been made known.
select p.pid, p.phase, (p.blocks_done + p.tuples_done)::bigint, (p.blocks_total + p.tuples_total)::bigint,
    p.lockers_total, p.current_locker_pid
from pg_stat_progress_create_index p
where p.datname = current_database()
    and (p.index_relid = to_regclass($1) or (p.index_relid = 0 and p.relid = to_regclass($2)))

-- name: locker
-- The one that a build is waiting for right now: a process that is in a transaction, or else (the process that is told
-- once was in it) those that are prepared and have locked the table.
with told as (
    select a.* from pg_stat_activity a where a.pid = $1 and a.state is distinct from 'idle'
)
select a.pid, '' as gid, coalesce(a.usename::text, ''), coalesce(a.application_name, ''), coalesce(a.state, ''),
    extract(epoch from clock_timestamp() - a.xact_start)::float8,
    extract(epoch from clock_timestamp() - a.query_start)::float8,
    exists (select from pg_locks l where l.pid = a.pid and l.relation = to_regclass($2) and l.granted
            and l.mode not in ('AccessShareLock', 'RowShareLock'))
from told a
union all
select null, p.gid, p.owner::text, '', 'prepared', extract(epoch from clock_timestamp() - p.prepared)::float8, null,
    true
from pg_prepared_xacts p
where p.database = current_database() and not exists (select from told)
    and exists (select from pg_locks l join pg_locks o using (virtualtransaction)
                where l.pid is null and l.relation = to_regclass($2) and l.mode not in ('AccessShareLock', 'RowShareLock')
                    and o.pid is null and o.locktype = 'transactionid' and o.transactionid = p.transaction)
