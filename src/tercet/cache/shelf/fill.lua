-- Keep an entry and end its lease; 0 where the lease is not the one we had: then nothing is written.
-- KEYS: the entry, its lease
-- ARGV: our token; the entry; its life in ms; the channel; the name
local held = redis.call('HMGET', KEYS[2], 'token', 'waited')
if held[1] ~= ARGV[1] then
  return 0
end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
redis.call('DEL', KEYS[2])
if held[2] then
  -- Where publishing is not allowed, those who wait see it when they look.
  redis.pcall('PUBLISH', ARGV[4], ARGV[5])
end
return 1
