-- A miss: the entry, or leave to load it, or who is loading it.
-- KEYS: the entry, its lease
-- ARGV: our token; the connection by which it is seen whether we live; who we are, in words; life in ms;
--       '1' to take the lease whatever there is, 'w' to take away the entry too, or '';
--       the SHA-1 of an entry that is no longer good enough, or ''; the versions of its tags that we have read
if ARGV[5] == 'w' then
  -- What is about to be written over: whoever asks meanwhile waits for us.
  redis.call('DEL', KEYS[1])
end
local entry = redis.pcall('GET', KEYS[1])
if type(entry) == 'table' then
  -- Something of another type lies there: the next fill replaces it.
  entry = false
end
if entry and ARGV[5] == '' and (ARGV[6] == '' or redis.sha1hex(entry) ~= ARGV[6]) then
  return {entry, false, false}
end
if ARGV[5] == '' then
  entry = false
end
local held = redis.call('HMGET', KEYS[2], 'token', 'client', 'versions')
-- Whoever has read other versions is loading what was dropped since, or will be.
if held[1] and held[3] == ARGV[7] and ARGV[5] == '' then
  redis.call('HSET', KEYS[2], 'waited', '1')
  return {false, false, (held[2] or '') .. ':' .. held[1]}
end
local now = redis.call('TIME')
-- What stands in `waited` stays: those who waited for the one before us are woken by us.
redis.call('HSET', KEYS[2], 'token', ARGV[1], 'client', ARGV[2], 'who', ARGV[3],
  'versions', ARGV[7], 'since', now[1] * 1000 + math.floor(now[2] / 1000))
redis.call('PEXPIRE', KEYS[2], ARGV[4])
return {entry, ARGV[1], false}
