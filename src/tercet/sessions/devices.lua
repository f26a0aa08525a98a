-- What is known of some sessions of a user, and no id; those that have ended leave the index.
--
-- KEYS  1 the user's index   2… the sessions
-- ARGV  1 idle ms   2 absolute ms   3… the handles of the sessions
--
-- Answers {handle, born, seen, device, ip} for each that is alive.

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local idle, absolute = tonumber(ARGV[1]), tonumber(ARGV[2])

local found = {}
for at = 2, #KEYS do
  local handle = ARGV[at + 1]
  local r = redis.call('HMGET', KEYS[at], 'c', 's', 't', 'p')
  if r[1] and r[2] and now < r[2] + idle and now < r[1] + absolute then
    if redis.call('ZSCORE', KEYS[1], handle) then
      found[#found + 1] = {handle, r[1], r[2], r[3] or '', r[4] or ''}
    end
  else
    redis.pcall('ZREM', KEYS[1], handle)
  end
end
return found
