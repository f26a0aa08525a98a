-- One lock: who holds it, who waits for it, and the number of its last grant.
--
-- KEYS  1 holders  zset    id -> when its lease ends, in the server's milliseconds
--       2 queue    zset    id -> its place in the line
--       3 places   zset    id -> until when it counts as alive without having been heard of again
--       4 fence    string  the token of the last grant
-- ARGV  1 enter | renew | leave
--       2 id       mode|permits|ttl ms|process|number; mode x holds alone, s beside other s (permits 0: any number)
--       3 enter: how long a place in the line is kept, ms; 0 tries and does not wait
--         renew, leave: the token of our grant; 0 for one who was never granted anything
--       4 how long the fence is kept after a grant, ms
--       5 the channels' prefix: what follows it is the process
-- Answers  enter: {1, token}, or {0, ms until the first lease ends, id of that holder, others before us, last token}
--          renew: 1 ours for another ttl, 0 not ours
--          leave: 1 it was ours, 0 it was not and nobody has had it since, -1 somebody may have had it since
local holders, queue, places, fence = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local what, id = ARGV[1], ARGV[2]

local time = redis.call('TIME')
local micros = tonumber(time[1]) * 1000000 + tonumber(time[2])
local now = math.floor(micros / 1000)

-- Lua would write large numbers as 1.7e+15.
local function text(number)
  return string.format('%.0f', number)
end

local function wish(of)
  local mode, permits, ttl, process = string.match(of, '^(%a)|(%d+)|(%d+)|([^|]*)|')
  return mode, tonumber(permits), tonumber(ttl), process
end

local function last_token()
  return tonumber(redis.call('GET', fence)) or 0
end

-- A server that has lost its data, or a replica that was behind, goes on above the old tokens by its clock.
local function next_token()
  return math.max(last_token() + 1, micros)
end

local function room_for(mode, permits)
  local held = redis.call('ZCARD', holders)
  if held == 0 then
    return true
  end
  if mode == 'x' or string.sub(redis.call('ZRANGE', holders, 0, 0)[1], 1, 1) == 'x' then
    return false
  end
  return permits == 0 or held < permits
end

local function hold(by, ttl)
  redis.call('ZADD', holders, text(now + ttl), by)
  redis.call('PEXPIREAT', holders, text(redis.call('ZRANGE', holders, -1, -1, 'WITHSCORES')[2]))
end

local function grant(to, ttl, token)
  redis.call('SET', fence, text(token), 'PX', text(tonumber(ARGV[4]) + ttl))
  hold(to, ttl)
  return token
end

local function forget(one)
  redis.call('ZREM', places, one)
  return redis.call('ZREM', queue, one)
end

-- Whether the process is there to take it. A node of a cluster knows only its own listeners: there, it is hoped.
local function told(process, message)
  local heard = redis.pcall('PUBLISH', ARGV[5] .. process, message)
  if type(heard) == 'number' and heard > 0 then
    return true
  end
  local about = redis.pcall('INFO', 'cluster')
  return type(heard) == 'number' and type(about) == 'string' and string.find(about, 'cluster_enabled:1') ~= nil
end

-- Hand out what is free, in the order of the line. The dead are taken out of it; one that cannot be told now keeps
-- its place and is passed over. The caller needs no message: the answer tells it.
local function serve(caller)
  local at = 0
  while true do
    local one = redis.call('ZRANGE', queue, at, at)[1]
    if not one then
      return nil
    end
    local mode, permits, ttl, process = wish(one)
    if one ~= caller and (tonumber(redis.call('ZSCORE', places, one) or 0) <= now) then
      forget(one)
    elseif not room_for(mode, permits) then
      return nil
    elseif one == caller then
      forget(one)
      return grant(one, ttl, next_token())
    else
      local token = next_token()
      if told(process, one .. ' ' .. text(token)) then
        forget(one)
        grant(one, ttl, token)
      else
        at = at + 1
      end
    end
  end
end

-- Both keys live as long as the longest place.
local function line_up(keep)
  if not redis.call('ZSCORE', queue, id) then
    local last = redis.call('ZRANGE', queue, -1, -1, 'WITHSCORES')[2] or 0
    redis.call('ZADD', queue, text(tonumber(last) + 1), id)
  end
  redis.call('ZADD', places, text(now + keep), id)
  local longest = redis.call('ZRANGE', places, -1, -1, 'WITHSCORES')[2]
  redis.call('PEXPIREAT', queue, text(longest))
  redis.call('PEXPIREAT', places, text(longest))
end

local function enter(keep)
  local mode, permits, ttl = wish(id)
  -- Ours already: the message with the grant, or the answer to our last question, was lost on its way.
  local ours = redis.call('ZSCORE', holders, id)
  if ours or (redis.call('ZCARD', queue) == 0 and room_for(mode, permits)) then
    return {1, grant(id, ttl, next_token())}
  end
  -- Who only tries stands in the line for the length of this script, so that it cannot overtake the living.
  line_up(math.max(keep, 1))
  local token = serve(id)
  if token then
    return {1, token}
  end
  local before = redis.call('ZRANK', queue, id)
  if keep == 0 then
    forget(id)
  end
  local first = redis.call('ZRANGE', holders, 0, 0, 'WITHSCORES')
  return {0, tonumber(first[2]) - now, first[1], before, last_token()}
end

-- A server that has lost its memory of us, or has let our lease end, and has given the lock to nobody since: it is
-- still ours, and is written down again.
local function renew(token)
  local mode, permits, ttl = wish(id)
  if redis.call('ZREM', holders, id) == 1 or (last_token() <= token and room_for(mode, permits)) then
    hold(id, ttl)
    return 1
  end
  return 0
end

local function leave(token)
  local was = redis.call('ZREM', holders, id)
  forget(id)
  local newest = last_token()
  serve(nil)
  if was == 1 then
    return 1
  end
  return newest <= token and 0 or -1
end

-- Being first, this also lets the script go on where the server is full: what a lock needs is little, and it ends.
redis.call('ZREMRANGEBYSCORE', holders, '-inf', text(now))
if what == 'enter' then
  return enter(tonumber(ARGV[3]))
elseif what == 'renew' then
  return renew(tonumber(ARGV[3]))
end
return leave(tonumber(ARGV[3]))
