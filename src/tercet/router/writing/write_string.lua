-- Writes a string, unless a newer version of it was written.
--
-- KEYS[1]  the string; KEYS[2] where its last version is kept
-- ARGV[1]  the version; ARGV[2] for how many seconds it is kept, or -1 for a sweep: what was written before this
--          version is taken away, and nothing is written
-- ARGV[3]  the value; without one the string is taken away
--
-- Returns whether it has written.

local version = tonumber(ARGV[1])
local kept = redis.call('GET', KEYS[2])
if ARGV[2] == '-1' then
  if not kept or tonumber(kept) >= version then
    return 0
  end
  redis.call('DEL', KEYS[1], KEYS[2])
  return 1
end
if kept and tonumber(kept) >= version then
  return 0
end
if ARGV[3] then
  redis.call('SET', KEYS[1], ARGV[3], 'KEEPTTL')
else
  redis.call('DEL', KEYS[1])
end
redis.call('SET', KEYS[2], ARGV[1], 'EX', ARGV[2])
return 1
