-- name: standing
-- $1 are names of relations and indexes that do not count.
-- One digest of all tables' columns and indexes; statistics and data are not in it. Reads catalogues only; what
-- tercet itself remembers, in its own schema, is nobody's table.
select md5(coalesce(string_agg(x.told, e'\n' order by x.told), '')) as digest
from (
    select format('%I.%I.%I %s %s', n.nspname, c.relname, a.attname, format_type(a.atttypid, a.atttypmod),
                  a.attnotnull) as told
    from pg_attribute a
        join pg_class c on c.oid = a.attrelid
        join pg_namespace n on n.oid = c.relnamespace
    where a.attnum > 0 and not a.attisdropped and c.relkind in ('r', 'p', 'm', 'f')
        and n.nspname !~ '^pg_' and n.nspname not in ('information_schema', 'tercet') and not c.relname = any($1::text[])
    union all
    select pg_get_indexdef(i.indexrelid) || ' ' || i.indisvalid
    from pg_index i
        join pg_class c on c.oid = i.indexrelid
        join pg_class t on t.oid = i.indrelid
        join pg_namespace n on n.oid = c.relnamespace
    where n.nspname !~ '^pg_' and n.nspname not in ('information_schema', 'tercet')
        and not c.relname = any($1::text[]) and not t.relname = any($1::text[])
) x

-- name: tables
-- One digest of each table's columns, and one of its indexes; for the rest as above.
select n.nspname || '.' || c.relname,
    md5(coalesce((
        select string_agg(format('%I %s %s', a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull), e'\n'
                          order by a.attnum)
        from pg_attribute a where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped), '')),
    md5(coalesce((
        select string_agg(pg_get_indexdef(i.indexrelid) || ' ' || i.indisvalid, e'\n' order by i.indexrelid)
        from pg_index i join pg_class x on x.oid = i.indexrelid
        where i.indrelid = c.oid and not x.relname = any($1::text[])), ''))
from pg_class c join pg_namespace n on n.oid = c.relnamespace
where c.relkind in ('r', 'p', 'm', 'f') and n.nspname !~ '^pg_' and n.nspname not in ('information_schema', 'tercet')
    and not c.relname = any($1::text[])
