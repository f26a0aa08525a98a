-- Takes tokens of every rate of a limit, or of none; the rule is in gcra.py.
--
-- KEYS[1]  what is used: one theoretical arrival time a rate, in microseconds since 1970, as "us" or "us+parts"
--          (a part is 1 / count of a microsecond)
-- ARGV[1]  how many amounts to try, the largest first; 0 only looks
-- then for each rate: count, burst in us and parts, and for each amount its weight in us and parts
--
-- It runs for every check there is, so it makes no closures, and reads the usual value without a pattern.
--
-- Returns which amount was taken (0: none), and for each rate its level in us and parts: after what was taken,
-- or as it was met. Every number stays below 2^53, so all of this is exact.

-- A key outlives its last microsecond: Redis counts its expiry in milliseconds.
local SPARE_MS = 1

local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local tries = tonumber(ARGV[1])
local width = 3 + 2 * tries
local words = #ARGV

-- The moments that are kept. One rate without parts, which is nearly every limit, is a number and nothing else.
local kept_us, kept_parts = {}, {}
local kept = redis.call('GET', KEYS[1])
if kept then
  local moment = tonumber(kept)
  if moment and moment >= 0 then
    kept_us[1], kept_parts[1] = moment, 0
  else
    for us, parts in string.gmatch(kept, '(%d+)%+?(%d*)') do
      kept_us[#kept_us + 1], kept_parts[#kept_parts + 1] = tonumber(us), tonumber(parts) or 0
    end
  end
end

-- The levels as they are now. One above the burst is cut to it, and kept so if this is a call: the rate was
-- another when it was written, or the server's clock has gone backwards. Nobody waits longer than for a burst.
local level_us, level_parts = {}, {}
local cut = false
local rate = 0
for at = 2, words, width do
  rate = rate + 1
  local us, parts = (kept_us[rate] or 0) - now, kept_parts[rate] or 0
  if parts >= tonumber(ARGV[at]) then
    us, parts = us + 1, 0
  end
  if us < 0 then
    us, parts = 0, 0
  else
    local full_us = tonumber(ARGV[at + 1])
    if us >= full_us then
      local full_parts = tonumber(ARGV[at + 2])
      if us > full_us or parts > full_parts then
        us, parts, cut = full_us, full_parts, true
      end
    end
  end
  level_us[rate], level_parts[rate] = us, parts
end

-- The first amount that fits into every rate is added to all of them.
local got = 0
for try = 1, tries do
  local next_us, next_parts = {}, {}
  local fits = true
  rate = 0
  for at = 2, words, width do
    rate = rate + 1
    local weight = at + 1 + 2 * try
    local us, parts = level_us[rate] + ARGV[weight], level_parts[rate] + ARGV[weight + 1]
    local count, full_us = tonumber(ARGV[at]), tonumber(ARGV[at + 1])
    if parts >= count then
      us, parts = us + 1, parts - count
    end
    if us > full_us or (us == full_us and parts > tonumber(ARGV[at + 2])) then
      fits = false
      break
    end
    next_us[rate], next_parts[rate] = us, parts
  end
  if fits then
    got, level_us, level_parts = try, next_us, next_parts
    break
  end
end

if got > 0 or (cut and tries > 0) then
  local written, longest = {}, 0
  for i = 1, #level_us do
    local us, parts = level_us[i], level_parts[i]
    -- tostring() would round: it shows fourteen figures.
    if parts > 0 then
      written[i] = string.format('%.0f+%.0f', now + us, parts)
    else
      written[i] = string.format('%.0f', now + us)
    end
    if us > longest then
      longest = us
    end
  end
  local ms = string.format('%.0f', math.ceil(longest / 1000) + SPARE_MS)
  redis.call('SET', KEYS[1], table.concat(written, ' '), 'PX', ms)
end

local reply = { got }
for i = 1, #level_us do
  reply[2 * i], reply[2 * i + 1] = level_us[i], level_parts[i]
end
return reply
