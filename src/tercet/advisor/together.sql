-- name: settings
-- Of this transaction only; $1 holds what is to be asked, $2 how many milliseconds a lock is waited for.
select set_config('transaction_read_only', 'on', true), set_config('lock_timeout', $2, true),
       set_config('plan_cache_mode', 'force_generic_plan', true), set_config('tercet.asked', $1, true)

-- name: search_path
select set_config('search_path', $1, true)

-- name: ask
-- Each question stands alone: what the server refuses has no answer, and the next one is asked. A cursor takes one
-- statement and no more.
do $tercet$
declare
    one record;
    line text;
    answer text;
    answers jsonb := '[]';
begin
    for one in
        select q.value ->> 0 as first, q.value ->> 1 as asked, q.value ->> 2 as last
        from jsonb_array_elements(current_setting('tercet.asked')::jsonb) with ordinality q(value, at) order by q.at
    loop
        answer := null;
        begin
            if one.first is not null then
                execute one.first;
            end if;
            for line in execute one.asked loop
                answer := line;
            end loop;
        exception when others then
            answer := null;
        end;
        if one.last is not null then
            begin
                execute one.last;
            exception when others then
                null;
            end;
        end if;
        answers := answers || jsonb_build_array(answer);
    end loop;
    perform set_config('tercet.told', answers::text, true);
end
$tercet$

-- name: told
select current_setting('tercet.told')
