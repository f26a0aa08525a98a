create table users (
    id bigint primary key,
    name text not null,
    email text,
    status text not null,
    created_at timestamptz not null,
    referrer bigint references users (id)
);
create table orders (
    id bigint primary key,
    user_id bigint not null references users (id),
    payer_id bigint references users (id),
    total numeric(10, 2) not null,
    discount numeric(10, 2),
    note text,
    placed timestamp not null,
    shipped timestamptz
);
create table profiles (
    user_id bigint not null unique,
    bio text
);
create table parts (
    part integer,
    supplier integer not null,
    quantity integer not null,
    size smallint
);
