-- End a lease without an entry; 0 where it is not that one.
-- KEYS: the lease
-- ARGV: its token; the channel; the name
local held = redis.call('HMGET', KEYS[1], 'token', 'waited')
if held[1] ~= ARGV[1] then
  return 0
end
redis.call('DEL', KEYS[1])
if held[2] then
  redis.pcall('PUBLISH', ARGV[2], ARGV[3])
end
return 1
