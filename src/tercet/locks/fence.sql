-- name: create
create table if not exists tercet_fence (
    name text primary key,
    token bigint not null
)

-- name: pass
insert into tercet_fence as seen (name, token) values (:name, :token)
on conflict (name) do update set token = excluded.token where seen.token <= excluded.token
returning token

-- name: newest
select token from tercet_fence where name = :name

-- name: alone
select pg_advisory_xact_lock(hashtextextended('tercet_fence', 0))
