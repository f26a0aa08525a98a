-- name: there
select extversion from pg_extension where extname = 'hypopg'

-- name: create
select h.indexrelid, h.indexname from hypopg_create_index('{statement}') as h

-- name: drop
select hypopg_drop_index({oid})

-- name: hide
select hypopg_hide_index(i.indexrelid) from pg_index i join pg_class c on c.oid = i.indexrelid where c.relname = '{name}'

-- name: unhide
select hypopg_unhide_all_indexes()

-- name: reset
select hypopg_reset()

-- name: explain
explain (format json) {sql}

-- name: prepare
prepare tercet_asked as {sql}

-- name: execute
explain (format json) execute tercet_asked{values}

-- name: forget
deallocate tercet_asked
