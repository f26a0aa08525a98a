-- What verification asks of the place where it runs.

-- name: index
-- An index by its quoted name, with those of its partitions; none if it is not there.
select i.indexrelid::int8, pg_relation_size(i.indexrelid)::int8, c.relname::text
from pg_index i join pg_class c on c.oid = i.indexrelid
where i.indexrelid = to_regclass($1)
   or i.indexrelid in (select t.relid from pg_partition_tree(to_regclass($1)) t)

-- name: size
select coalesce(pg_total_relation_size(to_regclass($1)), 0)::int8

-- name: hide
-- The planner leaves invalid indexes alone. In a transaction that is rolled back, nobody else ever sees it.
update pg_index set indisvalid = false where indexrelid = any($1::oid[]) and indisvalid

-- name: names
select format('drop index %s', i.indexrelid::regclass)
from pg_index i
where i.indexrelid = any($1::oid[]) and not exists (select from pg_inherits h where h.inhrelid = i.indexrelid)

-- name: explain
explain (format json) {sql}

-- name: analyze
explain (analyze, buffers, timing off, summary on, format json) {sql}

-- name: cursor
declare {name} no scroll cursor for {sql}

-- name: whole
-- Every row will be fetched: a plan for the first ones only would be another than the statement's own.
set local cursor_tuple_fraction = 1

-- name: read_only
set transaction read only

-- name: limits
select set_config('lock_timeout', $1, true), set_config('idle_in_transaction_session_timeout', $2, true)

-- name: columns
-- What is written into a table, whether these indexes hold it (in a key, an expression or a condition), and whether its
-- values may not be moved from row to row: something unique, a partition's key, or a foreign key's.
select a.attname::text,
    exists (select from pg_depend d where d.classid = 'pg_class'::regclass and d.objid = any($2::oid[])
            and d.refobjid = a.attrelid and d.refobjsubid = a.attnum),
    exists (select from pg_index i where i.indrelid = a.attrelid and i.indisunique and a.attnum = any(i.indkey))
        or exists (select from pg_partitioned_table p where p.partrelid = a.attrelid)
        or exists (select from pg_constraint k where k.contype = 'f' and (
            (k.conrelid = a.attrelid and a.attnum = any(k.conkey))
            or (k.confrelid = a.attrelid and a.attnum = any(k.confkey))))
from pg_attribute a
where a.attrelid = to_regclass($1) and a.attnum > 0 and not a.attisdropped and a.attgenerated = ''
order by a.attnum

-- name: table_of
-- Of a partitioned index, the partitioned table.
select i.indrelid::regclass::text
from pg_index i join pg_class c on c.oid = i.indexrelid
where i.indexrelid = any($1::oid[])
order by c.relkind <> 'I', i.indexrelid
limit 1

-- name: batch
-- The same rows each time: those first in the table.
create temporary table tercet_batch on commit drop as
select row_number() over () as tercet_row, b.*
from (select t.tableoid as tercet_table, t.ctid as tercet_place, t.* from {table} t limit {rows}) b

-- name: removed
delete from {table} t using tercet_batch b where t.ctid = b.tercet_place and t.tableoid = b.tercet_table

-- name: insert
insert into {table} ({columns}) overriding system value select {columns} from tercet_batch

-- name: update
-- Each row gets the next row's values: others than its own, and such as the columns may have.
update {table} t set {assignments}
from (select tercet_place, tercet_table, {moved} from tercet_batch b window w as (order by tercet_row)) n
where t.ctid = n.tercet_place and t.tableoid = n.tercet_table

-- name: moved
coalesce(lead(b.{column}) over w, first_value(b.{column}) over w) as {column}
