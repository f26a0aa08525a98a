-- Every session of a user is ended by removing the index, whatever their number; one may be kept.
--
-- KEYS  1 the user's index
-- ARGV  1 the handle that is kept, or nothing   2 how many handles to name at most
--
-- Answers {how many were ended, handles of theirs}. What lies under the handles lets nobody in any more.

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now))
local ended = redis.call('ZCARD', KEYS[1])
local kept = ARGV[1] ~= '' and redis.call('ZSCORE', KEYS[1], ARGV[1])
if kept then
  redis.call('ZREM', KEYS[1], ARGV[1])
  ended = ended - 1
end
local handles = redis.call('ZRANGE', KEYS[1], 0, ARGV[2] - 1)
redis.call('UNLINK', KEYS[1])
if kept then
  redis.call('ZADD', KEYS[1], kept, ARGV[1])
  redis.call('PEXPIREAT', KEYS[1], string.format('%.0f', kept))
end
return {ended, handles}
