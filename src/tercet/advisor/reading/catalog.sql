-- What the planner knows of a database, read by whoever may log in; only what the login may read is told in full.
-- What a newer version has is asked for through to_jsonb of the whole row, so that an older one answers NULL instead
-- of an error. $1 holds the schemas that are wanted, NULL for all of them.

-- name: server
select current_setting('server_version_num')::int,
       pg_is_in_recovery(),
       current_schemas(false)::text[],
       array(select extname::text from pg_extension),
       array(select name::text from pg_available_extensions),
       s.names,
       s.settings,
       extract(epoch from clock_timestamp() - pg_stat_get_db_stat_reset_time(d.oid))::float8,
       case coalesce(to_jsonb(d) ->> 'datlocprovider', 'c')
           when 'b' then true
           when 'c' then d.datcollate in ('C', 'POSIX')
           else false
       end,
       array(select nspname::text from pg_namespace)
from pg_database d,
     (select array_agg(name::text order by name) as names, array_agg(setting order by name) as settings
      from pg_settings
      where category like 'Query Tuning%'
         or name in ('work_mem', 'hash_mem_multiplier', 'maintenance_work_mem', 'shared_buffers', 'temp_buffers',
                     'max_parallel_workers', 'max_parallel_workers_per_gather', 'parallel_leader_participation',
                     'max_worker_processes', 'block_size', 'server_encoding', 'lc_collate', 'lc_ctype',
                     'TimeZone', 'DateStyle', 'IntervalStyle', 'extra_float_digits', 'bytea_output',
                     'default_text_search_config', 'standard_conforming_strings', 'transform_null_equals',
                     'row_security', 'track_counts', 'compute_query_id')) s
where d.datname = current_database()

-- name: tables
select c.oid::bigint,
       n.nspname::text,
       c.relname::text,
       c.relkind::text,
       c.reltuples::float8,
       case when c.relkind in ('r', 'm')
           then coalesce(ceil(pg_relation_size(c.oid) / current_setting('block_size')::float8), 0)
           else greatest(c.relpages, 0)
       end::bigint,
       c.relallvisible,
       case when c.relkind in ('r', 'm') then coalesce(pg_table_size(c.oid), 0) else 0 end::bigint,
       c.relrowsecurity,
       c.relpersistence::text,
       (select h.inhparent::bigint from pg_inherits h where h.inhrelid = c.oid and h.inhseqno = 1),
       case when c.relkind = 'p' then pg_get_partkeydef(c.oid) end,
       has_schema_privilege(n.oid, 'usage')
           and (has_table_privilege(c.oid, 'select') or has_any_column_privilege(c.oid, 'select')),
       pg_stat_get_tuples_inserted(c.oid),
       pg_stat_get_tuples_updated(c.oid),
       pg_stat_get_tuples_hot_updated(c.oid),
       pg_stat_get_tuples_deleted(c.oid),
       pg_stat_get_numscans(c.oid),
       pg_stat_get_tuples_returned(c.oid)
from pg_class c
join pg_namespace n on n.oid = c.relnamespace
where c.relkind in ('r', 'p', 'f', 'm')
  and c.relpersistence <> 't'
  and n.nspname not like 'pg\_%'
  and n.nspname <> 'information_schema'
  and ($1::text[] is null or n.nspname = any ($1))
order by n.nspname, c.relname

-- name: columns
-- A rule NOT NULL that is NOT VALID yet (PostgreSQL 18) says nothing of the rows that are there.
select a.attrelid::bigint,
       a.attname::text,
       a.attnum,
       format_type(a.atttypid, a.atttypmod),
       t.typcategory::text,
       a.attnotnull and u.conrelid is null,
       l.collname::text,
       a.attalign::text,
       a.attlen
from pg_attribute a
join pg_class c on c.oid = a.attrelid
join pg_namespace n on n.oid = c.relnamespace
join pg_type t on t.oid = a.atttypid
left join pg_collation l on l.oid = a.attcollation
left join (select distinct conrelid, conkey[1] as attnum from pg_constraint
           where contype = 'n' and not convalidated) u on u.conrelid = a.attrelid and u.attnum = a.attnum
where a.attnum > 0
  and not a.attisdropped
  and c.relkind in ('r', 'p', 'f', 'm')
  and c.relpersistence <> 't'
  and n.nspname not like 'pg\_%'
  and n.nspname <> 'information_schema'
  and ($1::text[] is null or n.nspname = any ($1))
order by a.attrelid, a.attnum

-- name: statistics
-- Of a partitioned table those of the whole, of every other its own.
select s.schemaname::text,
       s.tablename::text,
       s.attname::text,
       s.null_frac::float8,
       s.avg_width::float8,
       s.n_distinct::float8,
       s.most_common_vals::text,
       s.most_common_freqs::float8[],
       s.histogram_bounds::text,
       s.correlation::float8,
       t.typdelim::text
from pg_stats s
join pg_namespace n on n.nspname = s.schemaname
join pg_class c on c.relnamespace = n.oid and c.relname = s.tablename
join pg_attribute a on a.attrelid = c.oid and a.attname = s.attname
join pg_type t on t.oid = a.atttypid
where c.relkind in ('r', 'p', 'f', 'm')
  and s.inherited = (c.relkind = 'p')
  and n.nspname not like 'pg\_%'
  and n.nspname <> 'information_schema'
  and ($1::text[] is null or n.nspname = any ($1))

-- name: indexes
-- pg_get_indexdef puts brackets around an expression that is no call of a function.
select i.indexrelid::bigint,
       i.indrelid::bigint,
       x.relname::text,
       m.amname::text,
       i.indisunique and not i.indisexclusion,
       i.indisvalid and i.indisready and i.indislive,
       i.indimmediate,
       i.indisreplident,
       i.indisclustered,
       coalesce((to_jsonb(i) ->> 'indnullsnotdistinct')::boolean, false),
       case when x.relkind = 'i' then coalesce(pg_table_size(x.oid), 0) else 0 end::bigint,
       case when x.relkind = 'i'
           then coalesce(ceil(pg_relation_size(x.oid) / current_setting('block_size')::float8), 0)
           else 0
       end::bigint,
       x.reltuples::float8,
       pg_stat_get_numscans(x.oid),
       pg_get_indexdef(x.oid),
       pg_get_expr(i.indpred, i.indrelid, true),
       (select h.inhparent::bigint from pg_inherits h where h.inhrelid = x.oid),
       (select o.contype::text from pg_constraint o
        where o.conindid = x.oid and o.conrelid = i.indrelid and o.contype in ('p', 'u', 'x') limit 1),
       array(select distinct f.conname::text from pg_constraint f where f.conindid = x.oid and f.contype = 'f'),
       i.indnkeyatts,
       k.texts,
       k.expressions,
       k.options,
       k.class_schemas,
       k.classes,
       k.collation_schemas,
       k.collations
from pg_index i
join pg_class x on x.oid = i.indexrelid
join pg_class c on c.oid = i.indrelid
join pg_namespace n on n.oid = c.relnamespace
join pg_am m on m.oid = x.relam
cross join lateral (
    select array_agg(coalesce(a.attname::text,
                              case when d.text like '(%' then substr(d.text, 2, length(d.text) - 2) else d.text end)
                     order by p.at) as texts,
           array_agg(i.indkey[p.at - 1] = 0 order by p.at) as expressions,
           array_agg(coalesce(i.indoption[p.at - 1], 0)::int order by p.at) as options,
           array_agg(case when not o.opcdefault then s.nspname::text end order by p.at) as class_schemas,
           array_agg(case when not o.opcdefault then o.opcname::text end order by p.at) as classes,
           array_agg(case when l.oid is distinct from coalesce(a.attcollation, 'pg_catalog."default"'::regcollation)
                          then l.collname::text end order by p.at) as collations,
           array_agg(ls.nspname::text order by p.at) as collation_schemas
    from generate_series(1, i.indnatts::int) p(at)
    left join pg_attribute a on a.attrelid = i.indrelid and a.attnum = i.indkey[p.at - 1] and a.attnum <> 0
    left join lateral (select case when i.indkey[p.at - 1] = 0 then pg_get_indexdef(x.oid, p.at, true) end as text) d
              on true
    left join pg_opclass o on o.oid = i.indclass[p.at - 1]
    left join pg_namespace s on s.oid = o.opcnamespace
    left join pg_collation l on l.oid = i.indcollation[p.at - 1] and p.at <= i.indnkeyatts
    left join pg_namespace ls on ls.oid = l.collnamespace
) k
where c.relkind in ('r', 'p', 'm')
  and c.relpersistence <> 't'
  and n.nspname not like 'pg\_%'
  and n.nspname <> 'information_schema'
  and ($1::text[] is null or n.nspname = any ($1))
order by x.oid

-- name: foreign_keys
-- A key that refers to a partitioned table stands there once more for each partition of that: only the first is told.
select f.conrelid::bigint,
       f.conname::text,
       array(select a.attname::text from unnest(f.conkey) with ordinality k(attnum, at)
             join pg_attribute a on a.attrelid = f.conrelid and a.attnum = k.attnum order by k.at),
       tn.nspname::text,
       t.relname::text,
       array(select a.attname::text from unnest(f.confkey) with ordinality k(attnum, at)
             join pg_attribute a on a.attrelid = f.confrelid and a.attnum = k.attnum order by k.at),
       f.convalidated and coalesce((to_jsonb(f) ->> 'conenforced')::boolean, true)
from pg_constraint f
join pg_class c on c.oid = f.conrelid
join pg_namespace n on n.oid = c.relnamespace
join pg_class t on t.oid = f.confrelid
join pg_namespace tn on tn.oid = t.relnamespace
left join pg_constraint up on up.oid = f.conparentid and up.conrelid = f.conrelid
where f.contype = 'f'
  and up.oid is null
  and n.nspname not like 'pg\_%'
  and ($1::text[] is null or n.nspname = any ($1))
order by f.conrelid, f.conname

-- name: views
select n.nspname::text, c.relname::text, pg_get_viewdef(c.oid)
from pg_class c
join pg_namespace n on n.oid = c.relnamespace
where c.relkind = 'v'
  and n.nspname not like 'pg\_%'
  and n.nspname <> 'information_schema'
  and ($1::text[] is null or n.nspname = any ($1))
order by n.nspname, c.relname

-- name: replica
select schemaname::text, indexrelname::text, coalesce(idx_scan, 0)
from pg_stat_user_indexes
