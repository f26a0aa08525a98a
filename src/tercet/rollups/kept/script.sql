-- What makes a rollup where only SQL can be run: a revision of Alembic's carries it. The braces are filled in by
-- script.py; each block is one statement, and so one transaction: all of it or nothing. What is said of the order in
-- build.py holds here too.

-- name: make
do {tag}
#variable_conflict use_column
declare
    tercet_owner text;
    tercet_part text;
    tercet_parts text[];
    tercet_said text;
    tercet_tries int := 0;
begin
    perform pg_advisory_xact_lock(hashtextextended({lock}, 0));
    perform set_config('search_path', 'pg_catalog, pg_temp', true);
    perform set_config('statement_timeout', '0', true);
    if (current_setting('server_version_num')::int / 10000 >= 15) <> {nulls_not_distinct} then
        raise exception 'this was saved for another version of PostgreSQL' using hint = 'Save it for this one.';
    end if;
    if to_regclass('tercet.rollups') is null then
        perform pg_advisory_xact_lock(hashtextextended('the table tercet.rollups', 0));
        if to_regnamespace('tercet') is null then
            create schema tercet;
        end if;
        {memory};
    end if;
    if to_regclass({kept_literal}) is not null then
        if obj_description(to_regclass({kept_literal}), 'pg_class') is distinct from {mark} then
            raise exception '% exists and is another one', {kept_literal};
        end if;
    else
        if exists (select from pg_class where oid in ({tables}) and (relforcerowsecurity or row_security_active(oid))) then
            raise exception 'row security hides rows from whoever would count them';
        end if;
        {probe};
        {probe_index};
        {kept_table};
        comment on table {kept} is {mark};
        select string_agg(format('%s %s', a.attname, format_type(a.atttypid, -1)), ', ' order by a.attnum)
        into tercet_said from pg_attribute a where a.attrelid = to_regclass({kept_literal}) and a.attnum > 0;
        if tercet_said <> {types} then
            raise exception 'its columns have other types here: %', tercet_said using hint = 'Save it for this database.';
        end if;
        {statements};
        select r.rolname into tercet_owner from pg_class c join pg_roles r on r.oid = c.relowner
        where c.oid = to_regclass({table_literal});
        foreach tercet_said in array {owned} loop
            execute format('alter %s owner to %I', tercet_said, tercet_owner);
        end loop;
        insert into tercet.rollups (name, state) values ({name}, 'filling')
        on conflict (name) do update set state = 'filling', place = null;
    end if;
    with recursive part(oid) as (
        select to_regclass({table_literal})::oid
        union select i.inhrelid from pg_inherits i join part p on p.oid = i.inhparent
    )
    select array_agg(p.oid::regclass::text order by p.oid) into tercet_parts
    from part p join pg_class c on c.oid = p.oid
    where c.relkind in ('r', 'p') and not exists (select from pg_trigger where tgrelid = p.oid and tgname = {last_trigger});
    while tercet_parts is not null loop
        begin
            -- Behind a lock that waits, other writers queue: so it is asked for shortly, and again.
            perform set_config('lock_timeout', '1s', true);
            foreach tercet_part in array tercet_parts loop
                execute format('lock table %s in share row exclusive mode', tercet_part);
            end loop;
            foreach tercet_part in array tercet_parts loop
                foreach tercet_said in array {triggers} loop
                    execute replace(tercet_said, '<table>', tercet_part);
                end loop;
            end loop;
            exit;
        exception when lock_not_available then
            tercet_tries := tercet_tries + 1;
            if tercet_tries >= 60 then
                raise;
            end if;
            perform pg_sleep(0.5);
        end;
    end loop;
end {tag}

-- name: state
select state, place from tercet.rollups where name = {name}

-- name: forget
delete from tercet.rollups where name = {name}

-- name: fill
-- Makes a range right and remembers how far it is; <low>, <high> and <nulls> are put in.
do {tag}
begin
    perform pg_advisory_xact_lock(hashtextextended({lock}, 0));
    perform {function_replace}(<low>::text::{type}, <high>::text::{type}, <nulls>);
    update tercet.rollups set place = <high> where name = {name};
end {tag}

-- name: next
select {function_next}(<low>::text::{type}, {rows})

-- name: finish
do {tag}
declare
    tercet_reader text;
begin
    perform pg_advisory_xact_lock(hashtextextended({lock}, 0));
    perform set_config('search_path', 'pg_catalog, pg_temp', true);
    if to_regclass({name}) is null then
        {view};
        execute format('alter view %s owner to %I', {name}, (
            select r.rolname from pg_class c join pg_roles r on r.oid = c.relowner where c.oid = to_regclass({table_literal})
        ));
        if not exists (select from pg_class where oid in ({tables}) and relrowsecurity) then
            for tercet_reader in {readers} loop
                execute format('grant select on %s to %s', {name}, tercet_reader);
            end loop;
        end if;
    end if;
    update tercet.rollups set state = 'ready', place = null, as_of = transaction_timestamp() where name = {name};
end {tag}

-- name: readers
select coalesce(quote_ident(r.rolname::text), 'public') from pg_class c, aclexplode(c.relacl) a
left join pg_roles r on r.oid = a.grantee
where c.oid = to_regclass({table_literal}) and a.privilege_type = 'SELECT' and a.grantee <> c.relowner

-- name: served
select exists (
    select from pg_index i join pg_class c on c.oid = i.indexrelid join pg_am m on m.oid = c.relam
    join pg_attribute a on a.attrelid = i.indrelid and a.attnum = i.indkey[0]
    where i.indrelid = to_regclass({table_literal}) and a.attname = {first_column}
      and i.indisvalid and i.indpred is null and m.amname = 'btree'
)

-- name: asked_types
-- What the server would call the columns' types, and whether an extension has brought one; nothing is made.
select {types_of}
from (select) one left join (
    select {keys_of_row}, {contents_of_rows} from {table} c where {where} group by {key_expressions} limit 0
) x on true

-- name: known_types
select format_type(t.oid, -1), t.typtype = 'b' and t.typnamespace <> 'pg_catalog'::regnamespace, t.typcategory = 'A'
from unnest($1::bigint[]) with ordinality as x (oid, place) join pg_type t on t.oid = x.oid order by x.place
