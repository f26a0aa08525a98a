-- What pg_stat_statements has counted. The braces are filled in by statistics.py; the schema arrives quoted.

-- name: place
-- Where the extension lives, whether it is of a version that tells times of execution apart, whether it says
-- since when it counts, and whether it is told to count nothing; no row where it was never made here.
select quote_ident(n.nspname),
       exists (
           select from pg_attribute a join pg_class c on c.oid = a.attrelid
           where c.relnamespace = n.oid and c.relname = 'pg_stat_statements' and a.attname = 'total_exec_time'
       ),
       exists (select from pg_proc p where p.pronamespace = n.oid and p.proname = 'pg_stat_statements_info'),
       coalesce(current_setting('pg_stat_statements.track', true) = 'none', false)
from pg_extension e join pg_namespace n on n.oid = e.extnamespace
where e.extname = 'pg_stat_statements'

-- name: since
select extract(epoch from now() - i.stats_reset)::float8, i.dealloc
from {schema}.pg_stat_statements_info() i

-- name: heaviest
-- Sorted and cut by the server: only the statements that are taken travel. One statement of several users, or of
-- the top level and of functions, is one. Utility statements begin with one of these words.
with counted as (
    select s.queryid, sum(s.calls)::float8 as calls, sum(s.total_exec_time)::float8 as ms,
           sum(s.rows)::float8 as rows, max(s.query) as query
    from {schema}.pg_stat_statements s
    where s.dbid = (select d.oid from pg_database d where d.datname = current_database())
      and s.query !~* $1 and s.query not like $3
    group by s.queryid, s.query = '<insufficient privilege>'
), ranked as (
    select c.*, count(*) over () as fingerprints, sum(c.ms) over () as whole_ms
    from counted c
)
select r.query, r.calls, r.ms, r.rows, r.fingerprints, r.whole_ms
from ranked r
order by r.ms desc nulls last, r.calls desc, r.queryid
limit $2
