-- name: mark
-- The comment of an index by its quoted name, and how often it was read, or its view in whatever way.
select coalesce(obj_description(c.oid, 'pg_class'), ''),
    coalesce(case when t.relkind = 'm' or obj_description(t.oid, 'pg_class') like 'tercet sha256:%'
                  then pg_stat_get_numscans(t.oid) + coalesce(
                      (select sum(pg_stat_get_numscans(x.indexrelid)) from pg_index x where x.indrelid = t.oid), 0)
                      -- What keeps a rollup finds each group that it writes by its key, once.
                      - case t.relkind when 'r' then pg_stat_get_tuples_inserted(t.oid) + pg_stat_get_tuples_updated(t.oid)
                                       else 0 end
                  else pg_stat_get_numscans(c.oid) end, 0)::bigint
from pg_class c
    join pg_index i on i.indexrelid = c.oid
    join pg_class t on t.oid = i.indrelid
where c.oid = to_regclass($1)

-- name: marked
-- Every index with a comment that begins as ours do, and what it is on; a partitioned one with its parts together.
select i.indexrelid::bigint, n.nspname, c.relname, tn.nspname, t.relname, t.relkind::text,
    obj_description(c.oid, 'pg_class'), pg_get_indexdef(c.oid), i.indisvalid, i.indisunique,
    (select sum(pg_relation_size(x.relid))::bigint
     from (select c.oid as relid union select p.relid from pg_partition_tree(c.oid) p) x),
    case when t.relkind = 'm' or r.oid is not null then pg_total_relation_size(t.oid) else 0 end,
    exists (select from pg_constraint k where k.conindid = c.oid) or i.indisreplident or i.indisclustered,
    r.nspname, r.relname, pg_get_viewdef(coalesce(r.oid, case t.relkind when 'm' then t.oid end))
from pg_index i
    join pg_class c on c.oid = i.indexrelid
    join pg_namespace n on n.oid = c.relnamespace
    join pg_class t on t.oid = i.indrelid
    join pg_namespace tn on tn.oid = t.relnamespace
    -- The view under which a rollup's table of groups is read: the first that was made over it.
    left join lateral (
        select v.oid, vn.nspname, v.relname from pg_depend d
            join pg_rewrite w on d.classid = 'pg_rewrite'::regclass and w.oid = d.objid
            join pg_class v on v.oid = w.ev_class
            join pg_namespace vn on vn.oid = v.relnamespace
        where d.refclassid = 'pg_class'::regclass and d.refobjid = t.oid and v.relkind = 'v' and t.relkind = 'r'
            and obj_description(t.oid, 'pg_class') like 'tercet sha256:%'
        order by v.oid limit 1
    ) r on true
where obj_description(c.oid, 'pg_class') like 'tercet advice:%'
order by tn.nspname, t.relname, c.relname

-- name: scans
-- How often each index (its parts together) was read on this server, and the table itself, a view say. By names:
-- a physical replica has the same oids, another kind may not.
select n.nspname, c.relname, coalesce(sum(s.idx_scan), 0)::bigint,
    -- Of a rollup without what its own upkeep reads, as above.
    coalesce((select v.seq_scan + coalesce(v.idx_scan, 0) - case
                  when obj_description(i.indrelid, 'pg_class') like 'tercet sha256:%'
                       and (select t.relkind = 'r' from pg_class t where t.oid = i.indrelid)
                  then v.n_tup_ins + v.n_tup_upd else 0 end
              from pg_stat_all_tables v where v.relid = i.indrelid), 0)
from pg_index i
    join pg_class c on c.oid = i.indexrelid
    join pg_namespace n on n.oid = c.relnamespace
    left join lateral (select c.oid as relid union select p.relid from pg_partition_tree(c.oid) p) x on true
    left join pg_stat_all_indexes s on s.indexrelid = x.relid
where obj_description(c.oid, 'pg_class') like 'tercet advice:%'
group by n.nspname, c.relname, i.indrelid

-- name: reset
-- When the counters of this database were last set to zero; NULL if never.
select d.stats_reset from pg_stat_database d where d.datname = current_database()
