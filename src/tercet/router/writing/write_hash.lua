-- Writes fields of a hash, unless a newer version of them was written.
--
-- KEYS[1]  the hash
-- ARGV[1]  the version; ARGV[2] the field in which the last one is kept
-- ARGV[3]  1 takes every field away first, but for versions
-- ARGV[4]  how many fields to take away, then their names, then pairs of names and values.
--          -1: a sweep. What was written before this version is taken away, and nothing is written; fields that
--          nobody has written a version of are not ours.
--
-- Returns whether it has written.

local version = tonumber(ARGV[1])
if ARGV[4] == '-1' and redis.call('TYPE', KEYS[1]).ok ~= 'hash' then
  return 0
end
local kept = redis.call('HGET', KEYS[1], ARGV[2])
local last = tonumber(kept or '-1')
local many = tonumber(ARGV[4])
local sweep = many < 0
if sweep then
  if not kept or last >= version then
    return 0
  end
  many = #ARGV - 4
elseif last >= version then
  return 0
end

if ARGV[3] == '1' then
  for _, name in ipairs(redis.call('HKEYS', KEYS[1])) do
    if string.sub(name, 1, 8) ~= '_tercet:' then
      redis.call('HDEL', KEYS[1], name)
    end
  end
end
for at = 5, 4 + many do
  redis.call('HDEL', KEYS[1], ARGV[at])
end
if sweep then
  redis.call('HDEL', KEYS[1], ARGV[2])
  return 1
end
for at = 5 + many, #ARGV, 2 do
  redis.call('HSET', KEYS[1], ARGV[at], ARGV[at + 1])
end
redis.call('HSET', KEYS[1], ARGV[2], ARGV[1])
return 1
