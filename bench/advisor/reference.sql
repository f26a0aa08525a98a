-- The reference query as a person writes it, and by hand as quick as anybody could make it. :since is a literal.

-- name: as written
select u.id as user_id, u.name, u.email, count(o.id) as order_count, coalesce(sum(o.total), 0) as total_spent
from users u
left join orders o on o.user_id = u.id
where u.status = 'active' and u.created_at >= :since
group by u.id, u.name, u.email
order by coalesce(sum(o.total), 0) desc, u.id
limit 100

-- name: nulls first
-- As it is usually given: users without orders come first, and which of them is open.
select u.id, u.name, u.email, count(o.id) as order_count, sum(o.total) as total_spent
from users u
left join orders o on o.user_id = u.id
where u.status = 'active' and u.created_at >= :since
group by u.id, u.name, u.email
order by sum(o.total) desc
limit 100

-- name: usual indexes
create index usual_users on users (status, created_at desc) where status = 'active';
create index usual_orders on orders (user_id, total) include (id)

-- name: covering indexes
create index covering_users on users (created_at) include (id) where status = 'active';
create index covering_orders on orders (user_id) include (total)

-- name: late
-- Names are fetched for the hundred that are left, and nothing is asked of an order that its index does not hold.
select u.id as user_id, u.name, u.email, top.order_count, top.total_spent
from (
    select u.id, count(o.user_id) as order_count, coalesce(sum(o.total), 0) as total_spent
    from users u
    left join orders o on o.user_id = u.id
    where u.status = 'active' and u.created_at >= :since
    group by u.id
    order by coalesce(sum(o.total), 0) desc, u.id
    limit 100
) top
join users u on u.id = top.id
order by top.total_spent desc, u.id

-- name: lateral
select u.id as user_id, u.name, u.email, top.order_count, top.total_spent
from (
    select u.id, s.order_count, s.total_spent
    from users u
    cross join lateral (
        select count(*) as order_count, coalesce(sum(o.total), 0) as total_spent
        from orders o
        where o.user_id = u.id
    ) s
    where u.status = 'active' and u.created_at >= :since
    order by s.total_spent desc, u.id
    limit 100
) top
join users u on u.id = top.id
order by top.total_spent desc, u.id

-- name: grouped first
select u.id as user_id, u.name, u.email, coalesce(s.order_count, 0) as order_count,
       coalesce(s.total_spent, 0) as total_spent
from users u
left join (
    select user_id, count(*) as order_count, sum(total) as total_spent from orders group by user_id
) s on s.user_id = u.id
where u.status = 'active' and u.created_at >= :since
order by coalesce(s.total_spent, 0) desc, u.id
limit 100

-- name: view
create materialized view hand_spenders as
select u.id as user_id, u.created_at, count(o.user_id) as order_count, coalesce(sum(o.total), 0) as total_spent
from users u
left join orders o on o.user_id = u.id
where u.status = 'active'
group by u.id;
create unique index hand_spenders_key on hand_spenders (user_id);
create index hand_spenders_total on hand_spenders (total_spent desc, user_id) include (created_at, order_count)

-- name: from view
select u.id as user_id, u.name, u.email, top.order_count, top.total_spent
from (
    select user_id, order_count, total_spent
    from hand_spenders
    where created_at >= :since
    order by total_spent desc, user_id
    limit 100
) top
join users u on u.id = top.user_id
order by top.total_spent desc, u.id
