-- Takes tokens of every rate of a limit, or of none; the rule is in gcra.py.
--
-- KEYS[1]  what is used: one theoretical arrival time a rate, in microseconds since 1970, as "us" or "us+parts"
--          (a part is 1 / count of a microsecond)
-- ARGV[1]  how many amounts to try, the largest first; 0 only looks
-- then for each rate: count, burst in us and parts, and for each amount its weight in us and parts
--
-- Returns which amount was taken (0: none), and for each rate its level in us and parts: after what was taken,
-- or as it was met. Every number stays below 2^53, so all of this is exact.

-- A key outlives its last microsecond: Redis counts its expiry in milliseconds.
local SPARE_MS = 1

local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local tries = tonumber(ARGV[1])
local width = 3 + 2 * tries
local rates = (#ARGV - 1) / width

local function add(us, parts, more_us, more_parts, count)
  us, parts = us + more_us, parts + more_parts
  if parts >= count then
    return us + 1, parts - count
  end
  return us, parts
end

local function above(us, parts, than_us, than_parts)
  return us > than_us or (us == than_us and parts > than_parts)
end

-- The levels as they are now. One above the burst is cut to it, and kept so if this is a call: the rate was
-- another when it was written, or the server's clock has gone backwards. Nobody waits longer than for a burst.
local level_us, level_parts = {}, {}
local cut = false
local function met(i, us, parts)
  local at = 2 + (i - 1) * width
  local count, full_us, full_parts = tonumber(ARGV[at]), tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2])
  us = us - now
  if parts >= count then
    us, parts = us + 1, 0
  end
  if us < 0 then
    us, parts = 0, 0
  elseif above(us, parts, full_us, full_parts) then
    us, parts, cut = full_us, full_parts, true
  end
  level_us[i], level_parts[i] = us, parts
end

local kept = redis.call('GET', KEYS[1]) or ''
local i = 0
for us, parts in string.gmatch(kept, '(%d+)%+?(%d*)') do
  i = i + 1
  if i <= rates then
    met(i, tonumber(us), tonumber(parts) or 0)
  end
end
for rate = i + 1, rates do
  level_us[rate], level_parts[rate] = 0, 0
end

local function keep()
  local written, longest = {}, 0
  for rate = 1, rates do
    local us, parts = level_us[rate], level_parts[rate]
    if parts > 0 then
      written[rate] = string.format('%.0f+%.0f', now + us, parts)
    else
      written[rate] = string.format('%.0f', now + us)
    end
    longest = math.max(longest, us)
  end
  local ms = math.ceil(longest / 1000) + SPARE_MS
  redis.call('SET', KEYS[1], table.concat(written, ' '), 'PX', string.format('%.0f', ms))
end

local function taken(try)
  local next_us, next_parts = {}, {}
  for rate = 1, rates do
    local at = 2 + (rate - 1) * width
    local weight = at + 1 + 2 * try
    local us, parts =
      add(level_us[rate], level_parts[rate], tonumber(ARGV[weight]), tonumber(ARGV[weight + 1]), tonumber(ARGV[at]))
    if above(us, parts, tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2])) then
      return false
    end
    next_us[rate], next_parts[rate] = us, parts
  end
  level_us, level_parts = next_us, next_parts
  return true
end

local got = 0
for try = 1, tries do
  if taken(try) then
    got = try
    break
  end
end
if got > 0 or (cut and tries > 0) then
  keep()
end

local reply = { got }
for rate = 1, rates do
  reply[#reply + 1] = level_us[rate]
  reply[#reply + 1] = level_parts[rate]
end
return reply
