-- What is asked of PostgreSQL's catalogs by a check; the table arrives as text, quoted.

-- name: table
select to_regclass(:name)::oid

-- name: columns
select a.attname, format_type(a.atttypid, a.atttypmod), t.typcategory::text, a.attnotnull
from pg_attribute a
join pg_type t on t.oid = a.atttypid
where a.attrelid = to_regclass(:name) and a.attnum > 0 and not a.attisdropped

-- name: indexes
-- Valid indexes without a condition that begin with the column, and whether it alone is unique by them.
select bool_or(i.indisunique and i.indnkeyatts = 1)
from pg_index i
join pg_attribute a on a.attrelid = i.indrelid and a.attnum = i.indkey[0]
where i.indrelid = to_regclass(:name) and a.attname = :column
  and i.indisvalid and i.indpred is null
having count(*) > 0
