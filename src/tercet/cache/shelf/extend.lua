-- Let a tag's version live for at least so long: never less than it would have.
-- KEYS: the version
-- ARGV: life in ms
local left = redis.call('PTTL', KEYS[1])
if left >= 0 and left < tonumber(ARGV[1]) then
  redis.call('PEXPIRE', KEYS[1], ARGV[1])
end
return redis.call('GET', KEYS[1])
