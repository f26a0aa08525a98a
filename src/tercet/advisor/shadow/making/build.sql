-- What is done inside a shadow; these run there and nowhere else.

-- name: prepare
create role tercet login;
alter database postgres owner to tercet;
alter schema public owner to tercet;
alter role tercet set session_replication_role = 'replica';
alter role tercet set check_function_bodies = off;
-- Their bytes are written as they lie there.
create cast (bytea as pg_ndistinct) without function;
create cast (bytea as pg_dependencies) without function;

-- name: settings
-- Each setting of production that this server knows, for the role that plans.
select format(case g.key when 'search_path' then 'alter role tercet set %I = %s' else 'alter role tercet set %I = %L' end,
              g.key, coalesce(nullif(g.value, ''), ''''''))
from jsonb_each_text($1::text::jsonb) g join pg_settings s on s.name = g.key
where s.context in ('user', 'superuser')

-- name: statistics
-- What ANALYZE would have written: a row for each column, its values read by the input function of their type.
with recursive given as (
    select g.*
    from jsonb_to_recordset($1::text::jsonb) as g (
        "schema" text, "table" text, "column" text, inherited boolean, nulls real, width integer, "distinct" real,
        common text, common_shares text, histogram text, correlation real,
        elements text, element_shares text, element_counts text,
        range_lengths text, range_empty real, range_bounds text)
), base (typ, of) as (
    select t.oid, t.oid from pg_type t where t.typtype <> 'd'
    union all
    select t.oid, b.of from base b join pg_type t on t.typtype = 'd' and t.typbasetype = b.typ
), place as (
    select g.*, a.attrelid, a.attnum, a.attcollation, t.oid as typ, t.typelem, t.typname
    from given g
    join pg_namespace n on n.nspname = g."schema"
    join pg_class c on c.relnamespace = n.oid and c.relname = g."table"
    join pg_attribute a on a.attrelid = c.oid and a.attname = g."column" and a.attnum > 0 and not a.attisdropped
    join base b on b.typ = a.atttypid
    join pg_type t on t.oid = b.of
), kinds as (
    select distinct p.typ as of from place p
    union
    select p.typelem from place p where p.elements is not null and p.typelem <> 0
), operators as (
    select k.of, o.equal, o.less
    from kinds k join pg_type t on t.oid = k.of
    cross join lateral (
        select (select p.amopopr from pg_amop p where p.amopfamily = c.opcfamily and p.amoplefttype = c.opcintype
                and p.amoprighttype = c.opcintype and p.amopstrategy = case m.amname when 'btree' then 3 else 1 end) as equal,
               (select p.amopopr from pg_amop p where p.amopfamily = c.opcfamily and p.amoplefttype = c.opcintype
                and p.amoprighttype = c.opcintype and p.amopstrategy = 1 and m.amname = 'btree') as less
        from pg_opclass c join pg_am m on m.oid = c.opcmethod and m.amname in ('btree', 'hash')
        join pg_type i on i.oid = c.opcintype
        where c.opcdefault and (
            c.opcintype = t.oid
            or c.opcintype = case when t.typtype = 'e' then 'anyenum'::regtype
                                  when t.typtype = 'r' then 'anyrange'::regtype
                                  when t.typtype = 'm' then 'anymultirange'::regtype
                                  when t.typtype = 'c' then 'record'::regtype
                                  when t.typcategory = 'A' then 'anyarray'::regtype end
            or exists (select from pg_cast x where x.castsource = t.oid and x.casttarget = c.opcintype
                       and x.castmethod = 'b' and x.castcontext = 'i'))
        order by m.amname = 'btree' desc, c.opcintype = t.oid desc, i.typispreferred desc
        limit 1
    ) o
), slots as (
    select p.attrelid, p.attnum, p.inherited,
           array_agg(s.kind order by s.rank) as kind,
           array_agg(coalesce(s.op, 0) order by s.rank) as op,
           array_agg(coalesce(s.coll, 0) order by s.rank) as coll,
           array_agg(s.numbers order by s.rank) as numbers,
           array_agg(s.vals order by s.rank) as vals,
           array_agg(s.of order by s.rank) as of
    from place p
    left join operators o on o.of = p.typ
    left join operators e on e.of = p.typelem
    cross join lateral (values
        (1, 1, o.equal, p.attcollation, p.common_shares, p.common, p.typ),
        (2, 2, o.less, p.attcollation, null, p.histogram, p.typ),
        (3, 3, o.less, p.attcollation, '{' || p.correlation || '}', null, p.typ),
        (4, 4, case p.typname when 'tsvector' then '=(text,text)'::regoperator else e.equal end,
         case p.typname when 'tsvector' then 100 else p.attcollation end,
         p.element_shares, p.elements, case p.typname when 'tsvector' then 'text'::regtype else p.typelem end),
        (5, 5, e.equal, p.attcollation, p.element_counts, null, p.typelem),
        (6, 6, '<(float8,float8)'::regoperator, 0, '{' || p.range_empty || '}', p.range_lengths, 'float8'::regtype),
        (7, 7, 0, 0, null, p.range_bounds, p.typ)
    ) as s (rank, kind, op, coll, numbers, vals, of)
    where (s.numbers is not null or s.vals is not null) and (s.op is not null)
    group by p.attrelid, p.attnum, p.inherited
)
insert into pg_statistic
select p.attrelid, p.attnum, p.inherited, p.nulls, p.width, p."distinct",
       coalesce(s.kind[1], 0), coalesce(s.kind[2], 0), coalesce(s.kind[3], 0), coalesce(s.kind[4], 0), coalesce(s.kind[5], 0),
       coalesce(s.op[1], 0), coalesce(s.op[2], 0), coalesce(s.op[3], 0), coalesce(s.op[4], 0), coalesce(s.op[5], 0),
       coalesce(s.coll[1], 0), coalesce(s.coll[2], 0), coalesce(s.coll[3], 0), coalesce(s.coll[4], 0), coalesce(s.coll[5], 0),
       s.numbers[1]::real[], s.numbers[2]::real[], s.numbers[3]::real[], s.numbers[4]::real[], s.numbers[5]::real[],
       array_in(s.vals[1]::cstring, s.of[1], -1), array_in(s.vals[2]::cstring, s.of[2], -1),
       array_in(s.vals[3]::cstring, s.of[3], -1), array_in(s.vals[4]::cstring, s.of[4], -1),
       array_in(s.vals[5]::cstring, s.of[5], -1)
from place p
left join slots s on s.attrelid = p.attrelid and s.attnum = p.attnum and s.inherited = p.inherited

-- name: rows
-- For each table one INSERT of two rows that hold the ends of its columns, so that a search for an end finds it.
with ends as (
    select * from jsonb_to_recordset($1::text::jsonb) as e ("schema" text, "table" text, "column" text, low text, high text)
), col as (
    select s.schemaname, s.tablename, s.attname, a.attnum, format_type(a.atttypid, a.atttypmod) as type,
           s.histogram_bounds::text::text[] as h, s.most_common_vals::text::text[] as m,
           e.low, e.high
    from pg_stats s
    join pg_namespace n on n.nspname = s.schemaname
    join pg_class c on c.relnamespace = n.oid and c.relname = s.tablename and c.relkind = 'r'
    join pg_attribute a on a.attrelid = c.oid and a.attname = s.attname and a.attgenerated = ''
    left join ends e on e."schema" = s.schemaname and e."table" = s.tablename and e."column" = s.attname
    where not s.inherited and s.schemaname !~ '^pg_' and s.schemaname <> 'information_schema'
)
select format('insert into %I.%I (%s) overriding system value values (%s), (%s)', c.schemaname, c.tablename,
              string_agg(quote_ident(c.attname), ', ' order by c.attnum),
              string_agg(quote_nullable(coalesce(c.low, c.h[1], c.m[1])) || '::' || c.type, ', ' order by c.attnum),
              string_agg(quote_nullable(coalesce(c.high, c.h[array_upper(c.h, 1)], c.m[array_upper(c.m, 1)]))
                         || '::' || c.type, ', ' order by c.attnum))
from col c
group by c.schemaname, c.tablename

-- name: places
-- Where each relation's file lies.
select c.oid::bigint, n.nspname, c.relname, c.relkind::text, pg_relation_filepath(c.oid), m.amname, x.indrelid::bigint
from pg_class c join pg_namespace n on n.oid = c.relnamespace
left join pg_am m on m.oid = c.relam
left join pg_index x on x.indexrelid = c.oid
where c.relkind in ('r', 'i') and n.nspname !~ '^pg_' and n.nspname <> 'information_schema'

-- name: resize
update pg_class c
set relfilenode = g.node, relpages = g.pages, reltuples = g.tuples, relallvisible = g.visible
from unnest($1::oid[], $2::bigint[], $3::integer[], $4::real[], $5::integer[]) as g (oid, node, pages, tuples, visible)
where c.oid = g.oid

-- name: small
-- The file with the few real rows, for as long as an index is built.
update pg_class c set relfilenode = g.node from unnest($1::oid[], $2::bigint[]) as g (oid, node) where c.oid = g.oid

-- name: leaves
-- The tables of a partition tree that have files, and the table itself.
select t.relid::oid::bigint from pg_partition_tree($1::text::regclass) t where t.isleaf
union
select c.oid::bigint from pg_class c where c.oid = $1::text::regclass and c.relkind = 'r'

-- name: made
-- The indexes of these names that were made, those of the partitions among them.
select i.relname, c.oid::bigint, n.nspname, c.relname, c.relkind::text, pg_relation_filepath(c.oid), m.amname, x.indrelid::bigint,
       t.relname
from pg_class b
join pg_class i on i.relname = any ($2::text[]) and i.relnamespace = b.relnamespace
cross join lateral (select p.relid::oid from pg_partition_tree(i.oid) p union select i.oid) f (oid)
join pg_class c on c.oid = f.oid
join pg_am m on m.oid = c.relam
join pg_index x on x.indexrelid = c.oid
join pg_class t on t.oid = x.indrelid
join pg_namespace n on n.oid = c.relnamespace
where b.oid = $1::text::regclass

-- name: unswitched
update pg_index x set indisvalid = false, indisunique = x.indexrelid = any ($2::oid[])
where x.indexrelid = any ($1::oid[])

-- name: switch
update pg_index x set indisvalid = (x.indexrelid = any ($1::oid[]))
where x.indexrelid = any ($2::oid[]) and x.indisvalid <> (x.indexrelid = any ($1::oid[]))

-- name: columns
-- The columns of tables and of indexes with what is known of them.
select c.oid::bigint, c.relkind::text, n.nspname, c.relname, c.relpages, c.reltuples, x.indrelid::bigint, x.indisunique, x.indkey::text,
       x.indnkeyatts, m.amname,
       a.attname, a.attnum, format_type(a.atttypid, a.atttypmod), t.typcategory::text, a.attnotnull, a.attalign::text,
       a.attlen, s.null_frac, s.avg_width, s.n_distinct, s.most_common_vals::text::text[],
       s.most_common_freqs::float8[], s.histogram_bounds::text::text[], s.correlation
from pg_class c
join pg_namespace n on n.oid = c.relnamespace
join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
join pg_type t on t.oid = a.atttypid
left join pg_index x on x.indexrelid = c.oid
left join pg_am m on m.oid = c.relam
left join pg_stats s on s.schemaname = n.nspname and s.tablename = c.relname and s.attname = a.attname
                    and not s.inherited
where c.relkind in ('r', 'i') and n.nspname !~ '^pg_' and n.nspname <> 'information_schema'
  and ($1::bigint is null or c.oid = $1::bigint)
order by c.oid, a.attnum

-- name: plan_only
-- Functions are run while a statement is planned; they may read, and there is nothing to be read.
set default_transaction_read_only = on;
set plan_cache_mode = force_generic_plan;
set statement_timeout = '55s';

-- name: parameters
select cardinality(p.parameter_types) from pg_prepared_statements p where p.name = $1

-- name: relation
select c.oid::bigint, n.nspname, c.relname, c.relkind::text, pg_relation_filepath(c.oid), null::text, null::bigint
from pg_class c join pg_namespace n on n.oid = c.relnamespace
where c.oid = $1::text::regclass

-- name: action
select r.ev_action::text from pg_rewrite r where r.ev_class = $1::text::regclass

-- name: inherit_statistics
-- A column of a view is like the one that it comes from. One of its key holds each value less often: alone, once.
with source as (
    select s.*, a.attname, a.attname = any ($6::text[]) as of_key,
           case when s.stadistinct < 0 then -s.stadistinct * c.reltuples else s.stadistinct end as number
    from pg_statistic s
    join pg_class c on c.oid = s.starelid
    join pg_attribute a on a.attrelid = $1::bigint and a.attnum = $2::integer
    where s.starelid = $3::bigint and s.staattnum = $4::integer and not s.stainherit
)
insert into pg_statistic
select $1::bigint, $2::integer, false, case when s.of_key and $7::boolean then 0 else s.stanullfrac end, s.stawidth,
       case when s.of_key and $7::boolean then -1
            when s.number >= $5::float8 * 0.1 then -least(s.number / greatest($5::float8, 1), 1)
            else s.number end,
       case when s.of_key and s.stakind1 = 1 then 0 else s.stakind1 end, s.stakind2, s.stakind3, s.stakind4, s.stakind5,
       s.staop1, s.staop2, s.staop3, s.staop4, s.staop5, s.stacoll1, s.stacoll2, s.stacoll3, s.stacoll4, s.stacoll5,
       s.stanumbers1, s.stanumbers2, s.stanumbers3, s.stanumbers4, s.stanumbers5,
       s.stavalues1, s.stavalues2, s.stavalues3, s.stavalues4, s.stavalues5
from source s

-- name: numbers
select a.attname, a.attnum from pg_attribute a
join pg_class c on c.oid = a.attrelid join pg_namespace n on n.oid = c.relnamespace
where n.nspname = $1 and c.relname = $2 and a.attnum > 0 and not a.attisdropped

-- name: extended
insert into pg_statistic_ext_data (stxoid, stxdinherit, stxdndistinct, stxddependencies)
select s.oid, $3::boolean, $4::bytea::pg_ndistinct, $5::bytea::pg_dependencies
from pg_statistic_ext s join pg_namespace n on n.oid = s.stxnamespace
where n.nspname = $1 and s.stxname = $2

-- name: extended_14
-- Version 14 has the row since the statistics were made, and but one for each.
update pg_statistic_ext_data d set stxdndistinct = $4::bytea::pg_ndistinct, stxddependencies = $5::bytea::pg_dependencies
from pg_statistic_ext s join pg_namespace n on n.oid = s.stxnamespace
where n.nspname = $1 and s.stxname = $2 and d.stxoid = s.oid and not $3::boolean
