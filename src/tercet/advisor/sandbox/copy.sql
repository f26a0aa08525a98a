-- How rows are read off production, a table at a time, all under one snapshot. Names arrive quoted.

-- name: snapshot
set transaction isolation level repeatable read read only

-- name: forms
-- Texts that any server reads as they were meant, no long wait for anybody's lock, and scans from the first page on.
select set_config('datestyle', 'ISO', true), set_config('intervalstyle', 'postgres', true),
    set_config('bytea_output', 'hex', true), set_config('extra_float_digits', '1', true),
    set_config('lc_monetary', 'C', true), set_config('timezone', 'UTC', true), set_config('search_path', '', true),
    set_config('synchronize_seqscans', 'off', true), set_config('lock_timeout', $1, true),
    set_config('max_parallel_workers_per_gather', '0', true)

-- name: rows
select {columns} from {only}{table}

-- name: by_key
select {columns} from {only}{table}
where ({keys}) in (select {casts} from unnest({arrays}) as given({names}))

-- name: missing
-- In the copy: keys that rows refer to and that did not come along.
select distinct {texts} from {child} c
where {present} and not exists (select from {parent} p where {equal})

-- name: key_types
select a.attname::text, format_type(a.atttypid, a.atttypmod)
from pg_attribute a
where a.attrelid = $1::regclass and a.attnum > 0 and not a.attisdropped
