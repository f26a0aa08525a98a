-- Drop some things with one step: remember what tags are dropped for now, take versions, leases and entries away, and
-- tell the bus where it is on this server.
-- KEYS: what each of some tags was dropped for; what goes; the bus, or not
-- ARGV: how many of the first and of the second; how long is remembered what a tag was dropped for, in ms; how many
--       records may stand for themselves; how many of the newest do in any case; the time in ms by which older ones
--       are put together; how many spans; the spans: source, first, last; how many messages the bus keeps; the messages
-- A record is a span, the moment in ms at which it was told, and 1 where it is settled. span.told does the same.
local tags, gone = tonumber(ARGV[1]), tonumber(ARGV[2])
local window, exact, newest, bucket = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local spans = tonumber(ARGV[7])
local now = 0
if tags > 0 then
  local time = redis.call('TIME')
  now = time[1] * 1000 + math.floor(time[2] / 1000)
end
local held = {}
for number = 1, tags do
  held[number] = redis.pcall('GET', KEYS[number])
end
-- First: once a script has written, a full server lets it go on, and a drop must get through.
redis.call('UNLINK', unpack(KEYS, 1, tags + gone))

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

-- The records that were held, with those of this drop.
local function remembered(held)
  local kept = {}
  if type(held) == 'string' then
    for place = 1, #held - 32, 33 do
      local told = struct.unpack('>I8', held, place + 24)
      if told > now - window then
        kept[#kept + 1] = {held:sub(place, place + 23), told, held:byte(place + 32)}
      end
    end
  end
  for number = 8, 7 + spans do
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
  return kept
end

-- The newest as they are, and older ones put together: each by source and time.
local function bounded(kept)
  if #kept <= exact then
    return kept
  end
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
  return found
end

for number = 1, tags do
  local texts = {}
  for _, one in ipairs(bounded(remembered(held[number]))) do
    texts[#texts + 1] = one[1] .. struct.pack('>I8', one[2]) .. string.char(one[3])
  end
  redis.call('SET', KEYS[number], table.concat(texts), 'PX', window)
end
local bus = KEYS[tags + gone + 1]
if bus then
  redis.call('XTRIM', bus, 'MAXLEN', '~', ARGV[8 + spans])
  for place = 9 + spans, #ARGV do
    redis.call('XADD', bus, '*', 'd', ARGV[place])
  end
end
