-- Remember what a tag is dropped for now, and take its version away with the same step.
-- KEYS: what it was dropped for; its version, where that lies in the same slot
-- ARGV: how long that is remembered in ms; how many records may stand for themselves; how many of the newest do in
--       any case; the time in ms by which older ones are put together; then the spans: source, first, last
-- A record is a span, the moment in ms at which it was told, and 1 where it is settled. span.told does the same.
local window, exact, newest, bucket = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local held = redis.pcall('GET', KEYS[1])
-- First: once a script has written, a full server lets it go on, and a drop must get through.
redis.call('UNLINK', unpack(KEYS))

-- Byte by byte, as Lua's numbers are too short for a moment and its comparison of texts knows languages.
local function less(one, other)
  for place = 1, 8 do
    local a, b = one:byte(place), other:byte(place)
    if a ~= b then
      return a < b
    end
  end
  return false
end

local kept = {}
if type(held) == 'string' then
  for place = 1, #held - 32, 33 do
    local told = struct.unpack('>I8', held, place + 24)
    if told > now - window then
      kept[#kept + 1] = {held:sub(place, place + 23), told, held:byte(place + 32)}
    end
  end
end
for number = 5, #ARGV do
  local settled, others = 0, {}
  for _, one in ipairs(kept) do
    if one[1] == ARGV[number] then
      settled = math.max(settled, one[3])
    else
      others[#others + 1] = one
    end
  end
  others[#others + 1] = {ARGV[number], now, settled}
  kept = others
end
if #kept > exact then
  local together, found = {}, {}
  for place = 1, #kept - newest do
    local span, told, settled = unpack(kept[place])
    local source, first, last = span:sub(1, 8), span:sub(9, 16), span:sub(17, 24)
    local where = source .. math.floor(told / bucket)
    local other = together[where]
    if other then
      local a, b = other[1]:sub(9, 16), other[1]:sub(17, 24)
      other[1] = source .. (less(a, first) and a or first) .. (less(b, last) and last or b)
      other[2], other[3] = math.max(other[2], told), math.min(other[3], settled)
    else
      together[where] = kept[place]
      found[#found + 1] = kept[place]
    end
  end
  for place = #kept - newest + 1, #kept do
    found[#found + 1] = kept[place]
  end
  kept = found
end
local texts = {}
for _, one in ipairs(kept) do
  texts[#texts + 1] = one[1] .. struct.pack('>I8', one[2]) .. string.char(one[3])
end
redis.call('SET', KEYS[1], table.concat(texts), 'PX', window)
return #kept
