-- Everything that is awkward to carry over, with rows enough for plans to differ.
create type level as enum ('low', 'middle', 'high');
create domain positive as integer check (value > 0);
create type pair as (a integer, b text);
create function double_it(n integer) returns integer language sql immutable as 'select n * 2';
create function twice(n text) returns text language sql immutable as $$ select n || n $$;

create table users (
    id integer generated always as identity primary key,
    email text not null unique,
    level level not null,
    age positive,
    gone boolean,
    joined timestamptz not null default now()
);
alter table users drop column gone;
insert into users (email, level, age)
select 'u' || n || '@x.org', (array['low', 'middle', 'high'])[1 + n % 3]::level, nullif(n % 90, 0) from generate_series(1, 3000) n;
create function level_of(u users) returns text language sql stable as 'select u.level::text';
create index users_lower on users (lower(email));
create index users_pattern on users (email text_pattern_ops);

create table orders (
    id integer primary key,
    user_id integer not null references users (id),
    status text not null,
    total numeric(10, 2) not null,
    placed date not null,
    note tsvector,
    tags text[],
    doc jsonb,
    span int4range,
    token text,
    city text,
    zip text,
    fee numeric generated always as (total / 10) stored,
    check (total >= 0)
);
insert into orders (id, user_id, status, total, placed, note, tags, doc, span, token, city, zip)
select n, 1 + (n * 7919) % 3000, case when n % 50 = 0 then 'open' else 'done' end, n % 997,
       date '2024-01-01' + n % 120, to_tsvector('simple', 'w' || n % 500 || ' w' || n % 37), array['t' || n % 40, 't' || n % 7],
       jsonb_build_object('k', n % 300, 'z', n), int4range(n % 1000, n % 1000 + 10), md5(n::text), 'c' || n % 200, 'z' || n % 200
from generate_series(1, 20000) n;
create index orders_user on orders (user_id, placed desc);
create index orders_open on orders (user_id) where status = 'open';
create index orders_note on orders using gin (note);
create index orders_tags on orders using gin (tags);
create index orders_doc on orders using gin (doc jsonb_path_ops);
create index orders_placed on orders using brin (placed);
create index orders_span on orders using gist (span);
create index orders_token on orders using hash (token);
create index orders_total on orders (total) include (status);
create index orders_double on orders ((total * 2));
create statistics orders_place (ndistinct, dependencies, mcv) on city, zip from orders;

create table measured (day date not null, place text not null, user_id integer, value double precision)
    partition by range (day);
create table measured_1 partition of measured for values from ('2024-01-01') to ('2024-02-01');
create table measured_2 partition of measured for values from ('2024-02-01') to ('2024-03-01') partition by list (place);
create table measured_2_north partition of measured_2 for values in ('north');
create table measured_2_rest partition of measured_2 default;
create index measured_day on measured (day, place);
alter table measured add primary key (day, place, user_id);
insert into measured
select date '2024-01-01' + n % 59, (array['north', 'south', 'west'])[1 + n % 3], n, n from generate_series(1, 9000) n;

create schema "Odd ""Schema""";
create table "Odd ""Schema"""."The Table" ("select" text, "a ""b""" integer, "Ünï" text collate "C");
insert into "Odd ""Schema"""."The Table" select 'v' || n, n % 100, 'ü' || n from generate_series(1, 2000) n;
create index "An ""Index""" on "Odd ""Schema"""."The Table" ("a ""b""", "select");

create table parent (n integer, m text);
create table child () inherits (parent);
insert into parent select n, 'p' from generate_series(1, 500) n;
insert into child select n % 50, 'c' from generate_series(1, 5000) n;
create index child_n on child (n);

create materialized view totals as select user_id, sum(total) as spent from orders group by user_id;
create unique index totals_user on totals (user_id);
create index totals_spent on totals (spent desc);
create view open_orders as select * from orders where status = 'open';
create table empty_table (id integer primary key, what text);
create unlogged table never_analyzed (x integer, y text);
create sequence counted;
analyze users, orders, measured, measured_1, measured_2, "Odd ""Schema"""."The Table", parent, child, totals, empty_table;
insert into never_analyzed select n, 'x' from generate_series(1, 3000) n;
