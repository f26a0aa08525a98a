-- What a trial asks of its copy.

-- name: index
-- An index by its quoted name, with those of its partitions: oids, bytes, entries.
select array_agg(i.indexrelid::int8), sum(pg_relation_size(i.indexrelid))::int8, max(c.reltuples)::float8
from pg_index i join pg_class c on c.oid = i.indexrelid
where i.indexrelid = to_regclass($1)
   or i.indexrelid in (select t.relid from pg_partition_tree(to_regclass($1)) t)

-- name: level
-- Where the meta page of a B-tree keeps the height of its root above the leaves.
select get_byte(pg_read_binary_file(pg_relation_filepath(to_regclass($1)), 36, 1), 0)
from pg_class c join pg_am a on a.oid = c.relam
where c.oid = to_regclass($1) and a.amname = 'btree' and c.relkind = 'i'

-- name: named
select c.relname::text, array_agg(t.oid) from pg_class c cross join lateral (
    select c.oid::int8 as oid union select p.relid::int8 from pg_partition_tree(c.oid) p) t
where c.relkind in ('i', 'I') and c.relname = any($1::text[])
group by c.relname

-- name: switch
update pg_index set indisvalid = (indexrelid = any($1::oid[]))
where indexrelid = any($1::oid[]) and not indisvalid or indexrelid = any($2::oid[]) and indisvalid

-- name: view
select pg_table_size(to_regclass($1))::int8, c.reltuples::float8 from pg_class c where c.oid = to_regclass($1)

-- name: explain
explain (format json) {sql}

-- name: prepare
prepare tercet_generic as {sql}

-- name: parameters
select cardinality(parameter_types) from pg_prepared_statements where name = 'tercet_generic'

-- name: execute
explain (format json) execute tercet_generic{values}
