-- name: kind
-- Whether a table, by its quoted name, has partitions.
select c.relkind = 'p' from pg_class c where c.oid = to_regclass($1)

-- name: tree
-- The table itself and everything below it, each above its own parts: schema, name, kind, and its parent's.
select n.nspname, c.relname, c.relkind::text, pn.nspname, pc.relname
from pg_partition_tree(to_regclass($1)) t
    join pg_class c on c.oid = t.relid
    join pg_namespace n on n.oid = c.relnamespace
    left join pg_class pc on pc.oid = t.parentrelid
    left join pg_namespace pn on pn.oid = pc.relnamespace
where c.relkind in ('r', 'p')
order by t.level, n.nspname, c.relname
