-- Hold on to a lease; 0 where it is no longer ours. The connection may be another one than before.
-- KEYS: the lease
-- ARGV: our token; our connection; life in ms
if redis.call('HGET', KEYS[1], 'token') ~= ARGV[1] then
  return 0
end
redis.call('HSET', KEYS[1], 'client', ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return 1
