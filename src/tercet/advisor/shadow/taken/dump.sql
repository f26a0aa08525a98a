-- What a shadow is made of, read from the catalogue of the database that it stands for: no row of a table is read
-- here. Each block answers one JSON text. Whatever an extension brings is left to CREATE EXTENSION.

-- name: limits
select set_config('statement_timeout', $1, true), set_config('lock_timeout', $2, true),
       set_config('timezone', 'UTC', true), set_config('datestyle', 'ISO, YMD', true),
       set_config('intervalstyle', 'postgres', true), set_config('bytea_output', 'hex', true),
       set_config('extra_float_digits', '1', true)

-- name: about
select json_build_object(
    'version', current_setting('server_version_num')::int,
    'block_size', current_setting('block_size')::int,
    'encoding', pg_encoding_to_char(d.encoding),
    'collate', d.datcollate, 'ctype', d.datctype,
    'provider', coalesce(to_jsonb(d) ->> 'datlocprovider', 'c'),
    'locale', coalesce(to_jsonb(d) ->> 'datlocale', to_jsonb(d) ->> 'daticulocale'),
    'search_path', current_schemas(false),
    'tablespace_costs', exists (select from pg_tablespace t where t.spcoptions is not null)
)::text
from pg_database d where d.datname = current_database()

-- name: settings
-- The planner's own, and the few others on which its costs or its reading of a text depend.
select json_object_agg(s.name, s.setting)::text
from pg_settings s
where s.category like 'Query Tuning%'
   or s.name in ('work_mem', 'hash_mem_multiplier', 'max_parallel_workers', 'max_parallel_workers_per_gather',
                 'parallel_leader_participation', 'enable_parallel_hash', 'timezone', 'datestyle', 'intervalstyle',
                 'default_text_search_config', 'transform_null_equals', 'array_nulls', 'standard_conforming_strings',
                 'backslash_quote', 'effective_io_concurrency', 'row_security', 'quote_all_identifiers')

-- name: unqualified
-- From here on every name that the server writes down carries its schema.
select set_config('search_path', '', true)

-- name: objects
-- Statements that make everything that tables and queries may name, the simplest first.
with own as (
    select n.oid, n.nspname as name
    from pg_namespace n
    where n.nspname !~ '^pg_' and n.nspname <> 'information_schema'
), member as (
    select e.classid, e.objid from pg_depend e where e.deptype = 'e'
), made (rank, oid, what, ddl) as (
    select 1, n.oid::bigint, format('schema %I', n.name), format('create schema if not exists %I', n.name)
    from own n
    where not exists (select from member e where e.classid = 'pg_namespace'::regclass and e.objid = n.oid)
    union all
    select 2, x.oid::bigint, format('extension %I', x.extname),
           format('create extension if not exists %I schema %I cascade', x.extname, n.nspname)
    from pg_extension x join pg_namespace n on n.oid = x.extnamespace
    where x.extname <> 'plpgsql'
    union all
    select 3, c.oid::bigint, format('collation %I.%I', n.name, c.collname),
           format('create collation %I.%I (provider = %s, %s, deterministic = %s)', n.name, c.collname,
                  case c.collprovider when 'i' then 'icu' when 'b' then 'builtin' else 'libc' end,
                  case when c.collprovider = 'c'
                       then format('lc_collate = %L, lc_ctype = %L', c.collcollate, c.collctype)
                       else format('locale = %L', coalesce(to_jsonb(c) ->> 'colllocale', to_jsonb(c) ->> 'colliculocale',
                                                           c.collcollate)) end,
                  c.collisdeterministic)
    from pg_collation c join own n on n.oid = c.collnamespace
    where not exists (select from member e where e.classid = 'pg_collation'::regclass and e.objid = c.oid)
    union all
    select 4, t.oid::bigint, format('type %I.%I', n.name, t.typname),
           format('create type %I.%I as enum (%s)', n.name, t.typname,
                  (select coalesce(string_agg(quote_literal(l.enumlabel), ', ' order by l.enumsortorder), '')
                   from pg_enum l where l.enumtypid = t.oid))
    from pg_type t join own n on n.oid = t.typnamespace
    where t.typtype = 'e'
      and not exists (select from member e where e.classid = 'pg_type'::regclass and e.objid = t.oid)
    union all
    select 5, t.oid::bigint, format('type %I.%I', n.name, t.typname),
           format('create type %I.%I as (%s)', n.name, t.typname,
                  (select coalesce(string_agg(format('%I %s', a.attname, format_type(a.atttypid, a.atttypmod)), ', '
                                              order by a.attnum), '')
                   from pg_attribute a where a.attrelid = t.typrelid and a.attnum > 0 and not a.attisdropped))
    from pg_type t join own n on n.oid = t.typnamespace
    join pg_class c on c.oid = t.typrelid and c.relkind = 'c'
    where not exists (select from member e where e.classid = 'pg_type'::regclass and e.objid = t.oid)
    union all
    select 5, t.oid::bigint, format('type %I.%I', n.name, t.typname),
           format('create type %I.%I as range (subtype = %s)', n.name, t.typname, format_type(r.rngsubtype, null))
    from pg_range r join pg_type t on t.oid = r.rngtypid join own n on n.oid = t.typnamespace
    where not exists (select from member e where e.classid = 'pg_type'::regclass and e.objid = t.oid)
    union all
    select 6, p.oid::bigint, format('function %s', p.oid::regprocedure), pg_get_functiondef(p.oid)
    from pg_proc p join own n on n.oid = p.pronamespace
    where p.prokind in ('f', 'w') and p.prorettype <> 'trigger'::regtype
      and not exists (select from member e where e.classid = 'pg_proc'::regclass and e.objid = p.oid)
    union all
    select 7, t.oid::bigint, format('domain %I.%I', n.name, t.typname),
           format('create domain %I.%I as %s%s%s %s', n.name, t.typname, format_type(t.typbasetype, t.typtypmod),
                  case when t.typcollation <> b.typcollation and t.typcollation <> 0
                       then format(' collate %s', t.typcollation::regcollation) end,
                  case when t.typnotnull then ' not null' end,
                  (select string_agg(format('constraint %I %s', k.conname, pg_get_constraintdef(k.oid)), ' ')
                   from pg_constraint k where k.contypid = t.oid and k.contype = 'c'))
    from pg_type t join own n on n.oid = t.typnamespace join pg_type b on b.oid = t.typbasetype
    where t.typtype = 'd'
      and not exists (select from member e where e.classid = 'pg_type'::regclass and e.objid = t.oid)
    union all
    select 8, c.oid::bigint, format('sequence %I.%I', n.name, c.relname),
           format('create sequence %I.%I', n.name, c.relname)
    from pg_class c join own n on n.oid = c.relnamespace
    where c.relkind = 'S'
      and not exists (select from member e where e.classid = 'pg_class'::regclass and e.objid = c.oid)
)
select coalesce(json_agg(json_build_object('what', m.what, 'ddl', m.ddl) order by m.rank, m.oid), '[]')::text from made m

-- name: relations
select coalesce(json_agg(json_build_object(
    'oid', c.oid::bigint, 'schema', n.nspname, 'name', c.relname, 'kind', c.relkind,
    'blocks', case when c.relkind in ('r', 'm') then pg_relation_size(c.oid) / current_setting('block_size')::int
                   else 0 end,
    'pages', c.relpages, 'rows', c.reltuples, 'visible', c.relallvisible,
    'partition_key', case when c.relkind = 'p' then pg_get_partkeydef(c.oid) end,
    'bound', case when c.relispartition then pg_get_expr(c.relpartbound, c.oid) end,
    'parents', (select json_agg(json_build_array(pn.nspname, p.relname) order by h.inhseqno)
                from pg_inherits h join pg_class p on p.oid = h.inhparent join pg_namespace pn on pn.oid = p.relnamespace
                where h.inhrelid = c.oid),
    'options', (select json_agg(o) from unnest(c.reloptions) o
                where o ~ '^(parallel_workers|fillfactor)='),
    'row_security', c.relrowsecurity,
    'columns', (select json_agg(json_build_object(
                    'name', a.attname, 'number', a.attnum, 'type', format_type(a.atttypid, a.atttypmod), 'not_null', a.attnotnull,
                    'collation', case when a.attcollation <> t.typcollation and a.attcollation <> 0
                                      then (select json_build_array(ln.nspname, l.collname) from pg_collation l
                                            join pg_namespace ln on ln.oid = l.collnamespace
                                            where l.oid = a.attcollation) end,
                    'virtual', case when a.attgenerated = 'v' then pg_get_expr(d.adbin, d.adrelid) end
                ) order by a.attnum)
                from pg_attribute a join pg_type t on t.oid = a.atttypid
                left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
                where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped)
) order by c.oid), '[]')::text
from pg_class c join pg_namespace n on n.oid = c.relnamespace
where c.relkind in ('r', 'p', 'm') and c.relpersistence <> 't'
  and n.nspname !~ '^pg_' and n.nspname <> 'information_schema'
  and not exists (select from pg_depend e where e.classid = 'pg_class'::regclass and e.objid = c.oid and e.deptype = 'e')

-- name: indexes
-- In the order of their oids: of two that cost the same the planner takes the younger one.
select coalesce(json_agg(json_build_object(
    'oid', i.indexrelid::bigint, 'schema', n.nspname, 'name', x.relname, 'table', t.relname, 'method', m.amname,
    'ddl', pg_get_indexdef(i.indexrelid), 'constraint', k.conname, 'primary', i.indisprimary, 'unique', i.indisunique,
    'constraint_ddl', case when k.oid is not null then pg_get_constraintdef(k.oid) end,
    'deferrable', coalesce(k.condeferrable, false),
    'partitioned', x.relkind = 'I',
    'parent', (select json_build_array(pn.nspname, p.relname) from pg_inherits h
               join pg_class p on p.oid = h.inhparent join pg_namespace pn on pn.oid = p.relnamespace
               where h.inhrelid = i.indexrelid),
    'blocks', case when x.relkind = 'i' then pg_relation_size(x.oid) / current_setting('block_size')::int else 0 end,
    'pages', x.relpages, 'rows', x.reltuples,
    'leading', case when i.indpred is null and m.amname = 'btree' and i.indkey[0] > 0 and x.relkind = 'i'
                    then (select a.attname from pg_attribute a
                          where a.attrelid = i.indrelid and a.attnum = i.indkey[0]) end
) order by i.indexrelid), '[]')::text
from pg_index i
join pg_class x on x.oid = i.indexrelid
join pg_class t on t.oid = i.indrelid and t.relkind in ('r', 'p', 'm') and t.relpersistence <> 't'
join pg_namespace n on n.oid = t.relnamespace
join pg_am m on m.oid = x.relam
left join pg_constraint k on k.conindid = i.indexrelid and k.contype in ('p', 'u')
where (i.indisvalid or x.relkind = 'I') and i.indislive
  and n.nspname !~ '^pg_' and n.nspname <> 'information_schema'
  and not exists (select from pg_depend e where e.classid = 'pg_class'::regclass and e.objid = t.oid and e.deptype = 'e')

-- name: rules
-- Checks, foreign keys and extended statistics, then views: what stands on tables.
with made (rank, oid, what, ddl) as (
    select case k.contype when 'c' then 1 else 3 end, k.oid::bigint,
           format('constraint %I of %s', k.conname, k.conrelid::regclass),
           format('alter table %s%s add constraint %I %s', case when t.relkind = 'p' then '' else 'only ' end,
                  k.conrelid::regclass, k.conname, pg_get_constraintdef(k.oid))
    from pg_constraint k join pg_class t on t.oid = k.conrelid join pg_namespace n on n.oid = t.relnamespace
    where k.contype in ('c', 'f') and k.conparentid = 0 and (k.contype = 'f' or k.conislocal)
      and t.relpersistence <> 't' and n.nspname !~ '^pg_' and n.nspname <> 'information_schema'
    union all
    select 2, s.oid::bigint, format('statistics %I', s.stxname), pg_get_statisticsobjdef(s.oid)
    from pg_statistic_ext s
    union all
    select 4, c.oid::bigint, format('view %s', c.oid::regclass),
           format('create view %s %s as %s', c.oid::regclass,
                  case when c.reloptions is not null then format('with (%s)', array_to_string(c.reloptions, ', ')) end, pg_get_viewdef(c.oid))
    from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where c.relkind = 'v' and n.nspname !~ '^pg_' and n.nspname <> 'information_schema' and c.relpersistence <> 't'
      and not exists (select from pg_depend e
                      where e.classid = 'pg_class'::regclass and e.objid = c.oid and e.deptype = 'e')
)
select coalesce(json_agg(json_build_object('what', m.what, 'ddl', m.ddl) order by m.rank, m.oid), '[]')::text from made m

-- name: left_out
-- What there is and no shadow has.
select coalesce(json_agg(o.what), '[]')::text
from (
    select format('foreign table %s', c.oid::regclass) as what from pg_class c where c.relkind = 'f'
    union all
    select format('aggregate %s', p.oid::regprocedure) from pg_proc p join pg_namespace n on n.oid = p.pronamespace
    where p.prokind = 'a' and n.nspname !~ '^pg_' and n.nspname <> 'information_schema'
      and not exists (select from pg_depend e
                      where e.classid = 'pg_proc'::regclass and e.objid = p.oid and e.deptype = 'e')
    union all
    select format('operator %s', r.oid::regoperator) from pg_operator r join pg_namespace n on n.oid = r.oprnamespace
    where n.nspname !~ '^pg_' and n.nspname <> 'information_schema'
      and not exists (select from pg_depend e
                      where e.classid = 'pg_operator'::regclass and e.objid = r.oid and e.deptype = 'e')
) o

-- name: statistics
select coalesce(json_agg(json_build_object(
    'schema', s.schemaname, 'table', s.tablename, 'column', s.attname, 'inherited', s.inherited,
    'nulls', s.null_frac, 'width', s.avg_width, 'distinct', s.n_distinct,
    'common', s.most_common_vals::text, 'common_shares', s.most_common_freqs::text,
    'histogram', s.histogram_bounds::text, 'correlation', s.correlation,
    'elements', s.most_common_elems::text, 'element_shares', s.most_common_elem_freqs::text,
    'element_counts', s.elem_count_histogram::text,
    -- Columns that pg_stats has from 17 on; an older one tells nobody.
    'range_lengths', (select array_agg(v) from jsonb_array_elements_text(r.lengths) v)::text,
    'range_empty', (to_jsonb(s) ->> 'range_empty_frac')::real,
    'range_bounds', (select array_agg(v) from jsonb_array_elements_text(r.bounds) v)::text
)), '[]')::text
from pg_stats s
cross join lateral (select nullif(to_jsonb(s) -> 'range_length_histogram', 'null') as lengths,
                           nullif(to_jsonb(s) -> 'range_bounds_histogram', 'null') as bounds) r
where s.schemaname !~ '^pg_' and s.schemaname <> 'information_schema'

-- name: extended
select coalesce(json_agg(json_build_object(
    'schema', s.statistics_schemaname, 'name', s.statistics_name, 
    'inherited', coalesce((to_jsonb(s) ->> 'inherited')::boolean, false),
    'table_schema', s.schemaname, 'table', s.tablename,
    'distinct', s.n_distinct::text, 'dependencies', s.dependencies::text, 'common', s.most_common_vals is not null
)), '[]')::text
from pg_stats_ext s

-- name: by_index
select set_config('transaction_read_only', 'on', true), set_config('enable_seqscan', 'off', true),
       set_config('enable_sort', 'off', true)

-- name: end
(select e.{column}::text from only {table} e where e.{column} is not null order by e.{column}{way} limit 1)

-- name: sample
-- Of some pages: rows, keys by page, keys, keys on one page only, pages.
with met as (
    select (e.ctid::text::point)[0] as page, row({columns})::text as key
    from only {table} e tablesample system ({percent}) repeatable (1)
), unit as (
    select m.key, m.page, count(*) as n from met m group by m.key, m.page
), key as (
    select u.key, count(*) as pages from unit u group by u.key
)
select (select coalesce(sum(u.n), 0) from unit u)::bigint, (select count(*) from unit), (select count(*) from key),
       (select count(*) from key k where k.pages = 1), (select count(distinct u.page) from unit u)
