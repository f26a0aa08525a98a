-- Mark the records of what the store shows now: it was seen to be there by whoever reads the store itself.
-- KEYS: what a tag was dropped for
-- ARGV: the source; the moment up to which all is shown, eight bytes; then spans that are: source, first, last
local held = redis.pcall('GET', KEYS[1])
local left = redis.call('PTTL', KEYS[1])
if type(held) ~= 'string' or left < 1 then
  return 0
end

local function beyond(one, other)
  for place = 1, 8 do
    local a, b = one:byte(place), other:byte(place)
    if a ~= b then
      return a > b
    end
  end
  return false
end

local shown = {}
for number = 3, #ARGV do
  shown[ARGV[number]] = true
end
local texts, changed = {}, 0
for place = 1, #held - 32, 33 do
  local span, settled = held:sub(place, place + 23), held:byte(place + 32)
  if settled == 0 and span:sub(1, 8) == ARGV[1] and (shown[span] or not beyond(span:sub(17, 24), ARGV[2])) then
    settled, changed = 1, changed + 1
  end
  texts[#texts + 1] = span .. held:sub(place + 24, place + 31) .. string.char(settled)
end
if changed > 0 then
  redis.call('SET', KEYS[1], table.concat(texts), 'PX', left)
end
return changed
