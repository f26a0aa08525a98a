-- What is asked of two queries, and how data get into the tables that they touch.
-- The braces are filled in by statements.py; names arrive quoted, queries as the grammar has written them.

-- name: rows
select tercet_row::text from ({query}) as tercet_row

-- name: ties
select tercet_keys::text from ({query}) as tercet_ties

-- name: outputs
select row({keys})::text from ({query}) as tercet_ties

-- name: sums
-- Two independent hashes of 64 bits for each row, added up: the same for the same rows in any order.
select count(*)::text || ' ' || coalesce(sum(hashtextextended(tercet_row::text, 1))::text, '') || ' '
    || coalesce(sum(hashtextextended(tercet_row::text, 2))::text, '')
from ({query}) as tercet_row

-- name: only_one
select tercet_row::text from ({query}) as tercet_row
except all
select tercet_row::text from ({other}) as tercet_row
limit {rows}

-- name: number
select ({expression})::bigint::text

-- name: columns
select string_agg(attname || ' ' || format_type(atttypid, null), ', ' order by attnum)
from pg_attribute where attrelid = 'pg_temp.tercet_asked'::regclass and attnum > 0

-- name: parameters
select unnest(parameter_types)::text from pg_prepared_statements where name = 'tercet_asked'

-- name: insert
insert into {table} ({columns}) values {values} on conflict do nothing

-- name: dangling
-- A row whose parent was refused refers to nothing, and would be refused in its turn.
delete from {table} c
where {filled} and not exists (select from {target} p where {same})
returning ''

-- name: empty
delete from {table}
