-- A session of a user is ended by its handle, which needs no id.
--
-- KEYS  1 the session   2 its user's index
-- ARGV  1 handle
--
-- Answers 1 where one was alive, else 0.

local there = redis.call('UNLINK', KEYS[1])
return math.min(there, redis.call('ZREM', KEYS[2], ARGV[1]))
