-- A table that holds, for each row of a parent table, the count and the sums of its child rows.
-- The braces are filled in by summary.py; every name arrives quoted.

-- name: table
create table {summary} as
select p.{parent_key} as {key}, count(c.{child_key}) as {count}{sums_of_child}
from {parent} p left join {child} c on c.{child_key} = p.{parent_key}
group by p.{parent_key}

-- name: keys
alter table {summary}
    add primary key ({key}),
    add foreign key ({key}) references {parent} ({parent_key}) on update cascade on delete cascade,
    alter {count} set not null{sums_not_null}

-- name: born
-- A new parent starts with what its children already come to: nothing, where a foreign key forbids orphans.
create function {function_born}() returns trigger language plpgsql
security definer set search_path = pg_catalog, pg_temp as $body$
begin
    insert into {summary} ({key}, {count}{sum_names})
    select p.{parent_key}, count(c.{child_key}){sums_of_child}
    from tercet_added p left join {child} c on c.{child_key} = p.{parent_key}
    group by p.{parent_key};
    return null;
end $body$

-- name: moved
-- Locks are taken in the order of the keys, so that two writers of many rows cannot wait for each other.
create function {function}() returns trigger language plpgsql
security definer set search_path = pg_catalog, pg_temp as $body$
begin
    with delta as (
        select m.key, sum(m.n)::bigint as n{delta_sums}
        from ({moves}) m
        where m.key is not null
        group by m.key
        having {delta_matters}
    ), held as (
        select s.{key} as key
        from {summary} s join delta d on d.key = s.{key}
        order by s.{key}
        for no key update of s
    )
    update {summary} s
    set {count} = s.{count} + d.n{sums_moved}
    from delta d join held h on h.key = d.key
    where s.{key} = d.key;
    return null;
end $body$

-- name: emptied
create function {function_emptied}() returns trigger language plpgsql
security definer set search_path = pg_catalog, pg_temp as $body$
begin
    update {summary} set {count} = 0{sums_zero};
    return null;
end $body$

-- name: rekeyed
-- A parent's new key reaches the summary and the children by their foreign keys, in whichever order; so what was
-- moved on the way is counted once more, before the transaction ends.
create function {function_rekeyed}() returns trigger language plpgsql
security definer set search_path = pg_catalog, pg_temp as $body$
begin
    update {summary} s
    set {count} = c.{count}{sums_counted}
    from (
        select count(c.{child_key}) as {count}{sums_of_child} from {child} c where c.{child_key} = new.{parent_key}
    ) c
    where s.{key} = new.{parent_key};
    return null;
end $body$

-- name: on_born
create trigger {trigger_born} after insert on {parent}
referencing new table as tercet_added for each statement execute function {function_born}()

-- name: on_insert
create trigger {trigger_insert} after insert on {child}
referencing new table as tercet_added for each statement execute function {function_insert}()

-- name: on_delete
create trigger {trigger_delete} after delete on {child}
referencing old table as tercet_removed for each statement execute function {function_delete}()

-- name: on_update
create trigger {trigger_update} after update on {child}
referencing old table as tercet_removed new table as tercet_added
for each statement execute function {function_update}()

-- name: on_truncate
create trigger {trigger_truncate} after truncate on {child}
for each statement execute function {function_emptied}()

-- name: on_rekeyed
-- Deferred to the commit: what a cascade does to the children reaches their own triggers only after this one.
create constraint trigger {trigger_rekeyed} after update of {parent_key} on {parent}
deferrable initially deferred for each row
when (old.{parent_key} is distinct from new.{parent_key}) execute function {function_rekeyed}()
