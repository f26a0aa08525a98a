-- What keeps a rollup. The braces are filled in by statements.py; every name arrives quoted, every function searches
-- no schema but PostgreSQL's own. Groups are compared as arrays of one, for which NULL equals NULL.

-- name: kept
create table {kept} with (fillfactor = 80) as
select {keys_of_row}, {contents_of_rows}
from {table} c where {where}
group by {key_expressions}
with no data

-- name: kept_whole
alter table {kept} {not_null}, replica identity full

-- name: kept_key
create unique index {key_index} on {kept} ({key_columns}) nulls not distinct

-- name: kept_key_before_15
create unique index {key_index} on {kept} ({key_arrays})

-- name: kept_lookup_before_15
create index {lookup_index} on {kept} ({key_columns})

-- name: log
-- Rows come and go all the time: by share of the table, vacuum would come too late.
create table {log} (
    tercet_id bigint generated always as identity primary key, {log_columns}
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000)

-- name: probe
-- PostgreSQL itself says whether the keys and the condition depend on nothing but the row.
create temporary table tercet_probe (like {table}) on commit drop

-- name: probe_index
create index on pg_temp.tercet_probe ({probed}) where ({where}) is not null

-- name: added
select {keys_of_row}, {contents_added} from tercet_added c where {where}

-- name: removed
select {keys_of_row}, {contents_removed} from tercet_removed c where {where}

-- name: delta
-- What a statement changes in each group, in the order of the keys: two writers of many groups cannot then wait for
-- each other.
select {keys}, {contents_summed}
from ({moves}) m
group by {keys}
having {matters}

-- name: unmerged
with tercet_taken as (
    delete from {log} where tercet_id = any(array(select tercet_id from {log} order by tercet_id limit tercet_most))
    returning *
)
select {keys}, {contents_summed}
from tercet_taken m
group by {keys}

-- name: apply
with {before}tercet_delta as (
    {delta}
), tercet_moved as (
    insert into {kept} as k ({columns})
    select {columns_put} from tercet_delta d order by {keys}
    on conflict ({conflict}) do update set {columns_moved}
    returning k.ctid as tercet_at, k.*
)
select array_agg(m.tercet_at) filter (where {empty}), array_agg(m.tercet_at) filter (where not ({empty}) and ({stale})){counted}
into tercet_empty, tercet_stale{counted_into}
from tercet_moved m{with_delta};
if tercet_empty is not null then
    delete from {kept} where ctid = any(tercet_empty);
end if;

-- name: recount
-- What cannot be told by adding and taking away is counted again, group by group; their rows are locked by now. What
-- lies in a log of what is counted is forgotten by the same statement, so that nothing counts twice.
if tercet_stale is not null then
    {forget}update {kept} tercet_k set ({contents}) = (
        select {contents_of_rows} from {table} c where ({where}) and {same_group}
    )
    where tercet_k.ctid = any(tercet_stale);
end if;

-- name: forget
with tercet_gone as (
    delete from {log} l using {kept} k where k.ctid = any(tercet_stale) and {same_l_k}
)

-- name: trigger_function
create or replace function {function}() returns trigger language plpgsql
security definer set search_path = pg_catalog, pg_temp as {tag}
#variable_conflict use_column
declare
    tercet_empty tid[];
    tercet_stale tid[];
begin
{body}
    return null;
end {tag}

-- name: append
insert into {log} ({columns}) {delta};

-- name: emptied
-- Nobody else writes while this runs, so what is there now is all there is; but an old snapshot would not see it.
if current_setting('transaction_isolation') <> 'read committed' then
    raise exception 'a table with a rollup can be truncated in a READ COMMITTED transaction only'
        using errcode = 'feature_not_supported', hint = 'Use DELETE, or another isolation level.';
end if;

-- name: emptied_triggers
delete from {kept};
insert into {kept} ({columns}) select {keys_of_row}, {contents_of_rows}
from {table} c where {where} group by {key_expressions};

-- name: emptied_delta
insert into {log} ({columns})
select {keys}, {contents_summed}
from (
    select {keys_of_row}, {contents_of_rows} from {table} c where {where} group by {key_expressions}
    union all select {keys}, {contents_negative} from {kept}
    union all select {keys}, {contents_negative} from {log}
) m
group by {keys}
having {matters};

-- name: merge_function
create or replace function {function}(tercet_most bigint) returns bigint language plpgsql
security definer set search_path = pg_catalog, pg_temp as {tag}
#variable_conflict use_column
declare
    tercet_empty tid[];
    tercet_stale tid[];
    tercet_lines bigint;
begin
{body}
    return tercet_lines;
end {tag}

-- name: replace_function
-- Makes the groups of a range what its rows say: both ends may be NULL for none, and so may tercet_nulls for both.
-- Planned anew each time, for the ends say whether an index serves.
create or replace function {function}(tercet_low {type}, tercet_high {type}, tercet_nulls boolean)
returns void language plpgsql security definer
set search_path = pg_catalog, pg_temp set plan_cache_mode = force_custom_plan as {tag}
#variable_conflict use_column
declare
    tercet_held tid[];
begin
{body}
end {tag}

-- name: replace_triggers
    -- A row for each group, so that all can be locked; then whoever still writes to them has committed, and a new
    -- statement sees it. A group that comes up meanwhile is right by itself and is not touched.
    insert into {kept} ({columns}) select {keys}, {contents_zero}
    from (select {keys_of_row} from {table} c where ({where}) and {range_of_row} group by {key_expressions}) t
    order by {keys} on conflict do nothing;
    select array_agg(h.tercet_at) into tercet_held from (
        select k.ctid as tercet_at from {kept} k where {range_of_kept} order by {keys_k} for update
    ) h;
    with tercet_truth as (
        select {keys_of_row}, {contents_of_rows}
        from {table} c where ({where}) and {range_of_row} group by {key_expressions}
    )
    update {kept} k set {columns_true}
    from (
        select h.ctid as tercet_at, {truth_columns}
        from {kept} h left join tercet_truth t on {same_h_t} where h.ctid = any(tercet_held)
    ) t
    where k.ctid = t.tercet_at and ({contents_k}) is distinct from ({contents_true});
    delete from {kept} m where {range_of_m} and {empty};

-- name: replace_delta
    -- One statement, one snapshot: what it sees of the rows, it sees of the log; what it does not see, stays there.
    with tercet_gone as (
        delete from {log} l where {range_of_log}
    ), tercet_truth as (
        select {keys_of_row}, {contents_of_rows}
        from {table} c where ({where}) and {range_of_row} group by {key_expressions}
    ), tercet_put as (
        insert into {kept} as k ({columns}) select {columns} from tercet_truth
        on conflict ({conflict}) do update set {columns_excluded}
        where ({contents_k}) is distinct from ({contents_excluded})
    )
    delete from {kept} h where {range_of_h} and not exists (select from tercet_truth t where {same_h_t});

-- name: differ_function
-- How many groups of a range are not what its rows say, and how many there are; of one snapshot.
create or replace function {function}(tercet_low {type}, tercet_high {type}, tercet_nulls boolean)
returns table (tercet_groups bigint, tercet_wrong bigint) language plpgsql stable security definer
set search_path = pg_catalog, pg_temp set plan_cache_mode = force_custom_plan as {tag}
#variable_conflict use_column
begin
    return query select count(*), count(*) filter (where g.tercet_off) from (
        select count(*) <> 2 or {unequal} as tercet_off
        from (
            select {keys_of_row}, {contents_of_rows}
            from {table} c where ({where}) and {range_of_row} group by {key_expressions}
            union all
            {held}
        ) m
        group by {keys}
    ) g;
end {tag}

-- name: held_triggers
select {keys}, {contents} from {kept} k where {range_of_kept}

-- name: held_delta
select {keys}, {contents_summed}
from (
    select {keys}, {contents} from {kept} k where {range_of_kept}
    union all select {keys}, {contents} from {log} k where {range_of_kept}
) m
group by {keys}
having {rows_summed} <> 0

-- name: next_function
-- The key that lies so many rows behind another; NULL where there are not as many.
create or replace function {function}(tercet_low {type}, tercet_step bigint) returns text
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp set datestyle = 'ISO' set timezone = 'UTC' set intervalstyle = 'iso_8601'
set extra_float_digits = 1 set bytea_output = 'hex' set plan_cache_mode = force_custom_plan as {tag}
#variable_conflict use_column
begin
    return (select ({first_key})::text from {table} c
            where ({first_key}) is not null and (tercet_low is null or ({first_key}) > tercet_low)
            order by {first_key} offset tercet_step - 1 limit 1);
end {tag}

-- name: view
create view {view} as
select {shown}
from {groups} g

-- name: view_parent
create view {view} as
select {shown}
from (select * from {parent} where {parent_where}) p {join} {groups} g on g.{parent_by} = p.{parent_key}

-- name: groups_exact
(
    select {keys}, {contents_cast}
    from (select {keys}, {contents} from {kept} union all select {keys}, {contents} from {log}) m
    group by {keys}
    having {rows_summed} <> 0
)

-- name: on_insert
create or replace trigger {trigger} after insert on {target}
referencing new table as tercet_added for each statement execute function {function}()

-- name: on_delete
create or replace trigger {trigger} after delete on {target}
referencing old table as tercet_removed for each statement execute function {function}()

-- name: on_update
create or replace trigger {trigger} after update on {target}
referencing old table as tercet_removed new table as tercet_added
for each statement execute function {function}()

-- name: on_truncate
create or replace trigger {trigger} after truncate on {target}
for each statement execute function {function}()

-- name: call
select * from {function}($1::text::{type}, $2::text::{type}, $3::boolean)

-- name: call_next
select {function}($1::text::{type}, $2)

-- name: call_merge
select {function}($1)

-- name: facts
select c.relkind::text, n.nspname::text, c.relname::text, r.rolname::text, c.relrowsecurity, c.relforcerowsecurity,
       row_security_active(c.oid), current_setting('server_version_num')::int / 10000
from pg_class c join pg_namespace n on n.oid = c.relnamespace join pg_roles r on r.oid = c.relowner
where c.oid = to_regclass($1)

-- name: types
-- What the server calls the columns' types, and whether an extension has brought the type.
select a.attname::text, format_type(a.atttypid, a.atttypmod),
       t.typtype = 'b' and t.typnamespace <> 'pg_catalog'::regnamespace, t.typcategory = 'A'
from pg_attribute a join pg_type t on t.oid = a.atttypid
where a.attrelid = to_regclass($1) and a.attnum > 0 and not a.attisdropped

-- name: served
-- Whether an index is in the order of the first key.
select exists (
    select from pg_index i join pg_am m on m.oid = (select relam from pg_class where oid = i.indexrelid)
    join pg_attribute a on a.attrelid = i.indrelid and a.attnum = i.indkey[0]
    where i.indrelid = to_regclass($1) and a.attname = $2 and i.indisvalid and i.indpred is null and m.amname = 'btree'
)

-- name: parts
-- The table and whatever inherits from it, for a write may go to a part itself.
with recursive part(oid) as (
    select to_regclass($1)::oid union select i.inhrelid from pg_inherits i join part p on p.oid = i.inhparent
)
select n.nspname::text, c.relname::text from part p join pg_class c on c.oid = p.oid
join pg_namespace n on n.oid = c.relnamespace where c.relkind in ('r', 'p') order by p.oid

-- name: unique_parent
select exists (
    select from pg_index i join pg_attribute a on a.attrelid = i.indrelid and a.attnum = i.indkey[0]
    where i.indrelid = to_regclass($1) and i.indnkeyatts = 1 and a.attname = $2 and i.indisunique
      and i.indisvalid and i.indimmediate and i.indpred is null
)

-- name: grants
-- Who may read all of the table, but its owner.
select coalesce(r.rolname::text, '') from pg_class c, aclexplode(c.relacl) a left join pg_roles r on r.oid = a.grantee
where c.oid = to_regclass($1) and a.privilege_type = 'SELECT' and a.grantee <> c.relowner
