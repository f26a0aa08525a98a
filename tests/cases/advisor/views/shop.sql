-- A small shop with every edge: users without orders, orders of nobody, NULLs, ties, totals below zero, empty groups.
create table users (
    id bigint primary key,
    name text not null,
    email text not null,
    status text,
    country text,
    credit numeric(12, 2),
    created_at timestamptz not null
);
create table products (id int primary key, label text not null, weight double precision);
create table orders (
    id bigint primary key,
    user_id bigint references users,
    buyer_id bigint not null references users,
    product_id int not null references products,
    status text not null,
    total numeric(12, 2),
    quantity int,
    pieces bigint,
    rate double precision,
    created_at timestamptz not null,
    day date not null
);
insert into users
select i, 'user ' || (i % 7), 'user' || i || '@example.org',
       (array['active', 'inactive', 'pending', null])[1 + i % 4],
       (array['KR', 'DE', 'US', null, 'FR'])[1 + i % 5],
       case when i % 6 = 0 then null else (i % 9) - 4.5 end,
       timestamptz '2024-01-01 00:00+00' + i * interval '9 days'
from generate_series(1, 80) i;
insert into products select i, 'product ' || i, i * 0.1 from generate_series(1, 5) i;
insert into orders
select i,
       -- Every fifth order is nobody's, and users above 60 have none.
       case when i % 5 = 0 then null else 1 + (i * 7) % 60 end,
       1 + (i * 11) % 60,
       1 + i % 5,
       (array['completed', 'pending', 'returned'])[1 + (i / 3) % 3],
       -- Ties, totals below zero, and users of whom every total is NULL.
       case when (i * 7) % 60 in (3, 9) or i % 13 = 0 then null else ((i % 8) - 3) * 10.25 end,
       case when i % 11 = 0 then null else i % 4 end,
       case when i % 17 = 0 then null else 9000000000000000 + i end,
       i * 0.3,
       timestamptz '2025-01-01 00:00+00' + i * interval '7 hours',
       date '2025-01-01' + (i % 30)
from generate_series(1, 1600) i;
create table "Odd things" (
    "Id it" int primary key, "Who is it" text not null, "select" text, "A total" numeric(8, 2)
);
insert into "Odd things" select i, 'who "' || i % 6, case when i % 3 > 0 then 'x' end, i % 7 - 3
from generate_series(1, 900) i;
create table labels (product_id int primary key, shown text);
insert into labels select i, 'label ' || i from generate_series(1, 4) i;
analyze;
