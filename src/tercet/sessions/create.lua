-- A new session, and its place in its user's index; expired ones leave the index with it.
--
-- KEYS  1 the session   2 its user's index, in the same slot
-- ARGV  1 handle   2 digest of the id   3 user, or nothing   4 idle ms   5 absolute ms   6 device   7 ip   8 data
--
-- Answers {'live', user, born, seen, version, device, ip, data}, as session.lua does.

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local till = now + math.min(tonumber(ARGV[4]), tonumber(ARGV[5]))

local function ms(number)
  return string.format('%.0f', number)
end

-- The first write, and the only one that a full server refuses: then nothing has been done.
redis.call('HSET', KEYS[1], 'd', ARGV[2], 'u', ARGV[3], 'c', ms(now), 's', ms(now), 'v', '1',
  't', ARGV[6], 'p', ARGV[7], 'x', ARGV[8])
redis.call('PEXPIREAT', KEYS[1], ms(till))
if ARGV[3] ~= '' then
  redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', ms(now))
  redis.call('ZADD', KEYS[2], ms(till), ARGV[1])
  if redis.call('PTTL', KEYS[2]) < till - now then redis.call('PEXPIREAT', KEYS[2], ms(till)) end
end
return {'live', ARGV[3], ms(now), ms(now), '1', ARGV[6], ARGV[7], ARGV[8]}
