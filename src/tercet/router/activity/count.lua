-- Counts an activity, unless its mark says that it was counted.
--
-- KEYS[1]  the count; KEYS[2] the mark
-- ARGV[1]  for how many seconds the mark is kept
--
-- Returns the count.

if redis.call('SET', KEYS[2], '1', 'NX', 'EX', ARGV[1]) then
  return redis.call('INCR', KEYS[1])
end
return tonumber(redis.call('GET', KEYS[1]) or '0')
