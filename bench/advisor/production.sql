-- A database as production may be: a schema with odd names, a large table without the index that it needs, one that
-- nobody has analyzed.

-- name: awkward
create extension pg_stat_statements;
create schema "Sales Dept";
create table "Sales Dept"."Or""der; --" ("Select" int primary key, "User Id" int not null, "naïve 名" text not null);
insert into "Sales Dept"."Or""der; --" select n, n % 5000, repeat('n', 60) from generate_series(1, 50000) n;
create table hot (id int primary key, owner int not null, note text not null);
insert into hot select n, n % 50000, repeat('n', 60) from generate_series(1, 200000) n;
analyze;
create table unknown (id int primary key, owner int not null, note text not null);
insert into unknown select n, n % 50000, repeat('n', 60) from generate_series(1, 50000) n

-- name: many
-- One of the thousand.
create table {table} (id int primary key, c0 int, c1 int, c2 int, c3 int, c4 int, c5 int, c6 int);
insert into {table} select n, n, n % 2, n % 3, n % 5, n % 7, n % 11, n % 13 from generate_series(1, 100) n;
analyze {table};

-- name: asked
select id from {table} where {where}

-- name: gone
create table gone (id int);
select id from gone where id = 1;
drop table gone

-- name: hot
select note from hot where owner = 4711

-- name: odd
select "naïve 名" from "Sales Dept"."Or""der; --" where "User Id" = 7

-- name: unknown
select note from unknown where owner = 4711

-- name: errors
-- A column that is not there, a table that is not; what cannot be planned, and no statement at all.
select nosuch from hot where owner = 1;
select * from nowhere where owner = 1;
select 1 / 0 from hot where owner = 1;
selec note from hot
