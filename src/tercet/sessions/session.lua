-- One session: found by its id, and then read, saved, renewed or ended, all in one step.
--
-- KEYS  1 the session   2 its user's index, in the same slot
-- ARGV  1 what to do: load save rotate take   2 handle   3 digest of the id
--       4 idle ms   5 absolute ms   6 ms after which a use is written down   7 revoke or refuse a replayed id
--   save    8 data      9 version
--   rotate  8 new digest   9 grace ms   10 former ids kept   11 login or same   12 data or nothing   13 version
--   take    8 version, or nothing for any
--
-- Answers {state, user, born, seen, version, device, ip, data}; a state without a session stands alone.
-- A session is a hash: d digest, u user, c born, s seen, v version, t device, p ip, x data,
-- f former ids: for each its digest (32 bytes) and the ms until which it still leads here (13 digits).

local FORMER = 45
local DIGEST = 32

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local verb, handle, digest = ARGV[1], ARGV[2], ARGV[3]
local idle, absolute = tonumber(ARGV[4]), tonumber(ARGV[5])

local r = redis.call('HMGET', KEYS[1], 'd', 'u', 'c', 's', 'v', 't', 'p', 'x')
for at = 1, 8 do
  if not r[at] then return {'none'} end
end
local user, born, seen = r[2], tonumber(r[3]), tonumber(r[4])

local function ms(number)
  return string.format('%.0f', number)
end

local function record(state)
  return {state, user, ms(born), ms(seen), r[5], r[6], r[7], r[8]}
end

-- pcall: what may not be removed just now (a replica) is refused all the same.
local function drop()
  redis.pcall('UNLINK', KEYS[1])
  redis.pcall('ZREM', KEYS[2], handle)
end

-- The user's index says which sessions are alive; the absence of one is its revocation.
if now >= seen + idle or now >= born + absolute or (user ~= '' and not redis.call('ZSCORE', KEYS[2], handle)) then
  drop()
  return {'none'}
end

local state
if r[1] == digest then
  state = 'live'
else
  local former = redis.call('HGET', KEYS[1], 'f') or ''
  for at = 1, #former, FORMER do
    if string.sub(former, at, at + DIGEST - 1) == digest then
      local till = tonumber(string.sub(former, at + DIGEST, at + FORMER - 1))
      state = now < till and 'former' or 'replayed'
    end
  end
  if not state then return {'none'} end
  if state == 'replayed' then
    if ARGV[7] ~= 'revoke' then return {'replayed'} end
    drop()
    return {'revoked'}
  end
end

-- XX: a use lengthens what is there and brings nothing back.
local function used()
  seen = now
  local till = math.min(now + idle, born + absolute)
  redis.call('PEXPIREAT', KEYS[1], ms(till))
  if user ~= '' then
    redis.call('ZADD', KEYS[2], 'XX', ms(till), handle)
    if redis.call('PTTL', KEYS[2]) < till - now then redis.call('PEXPIREAT', KEYS[2], ms(till)) end
  end
end

if verb == 'load' then
  if now - seen >= tonumber(ARGV[6]) then
    -- A server that is full refuses this first write, and the session is read all the same.
    local done = redis.pcall('HSET', KEYS[1], 's', ms(now))
    if type(done) ~= 'table' then
      used()
    elseif not string.find(done.err, 'OOM', 1, true) then
      return done
    end
  end
  return record(state)
end

if verb == 'save' then
  if r[5] ~= ARGV[9] then return {'conflict'} end
  r[5], r[8] = ms(r[5] + 1), ARGV[8]
  redis.call('HSET', KEYS[1], 'x', r[8], 'v', r[5], 's', ms(now))
  used()
  return record(state)
end

if verb == 'take' then
  if ARGV[8] ~= '' and r[5] ~= ARGV[8] then return {'conflict'} end
  redis.call('UNLINK', KEYS[1])
  redis.call('ZREM', KEYS[2], handle)
  return {'done'}
end

local login, data = ARGV[11] == 'login', ARGV[12]
if state == 'former' then
  -- Somebody has just renewed it. Its new id is known to them alone.
  if login or data ~= '' then return {'conflict'} end
  return record(state)
end
if data ~= '' then
  if r[5] ~= ARGV[13] then return {'conflict'} end
  r[5], r[8] = ms(r[5] + 1), data
end
local former = ''
if login then
  -- Who knew the id before the login knows nothing after it, and cannot end the session either.
  born = now
else
  former = (redis.call('HGET', KEYS[1], 'f') or '') .. r[1] .. string.format('%013.0f', now + ARGV[9])
  former = string.sub(former, -FORMER * ARGV[10])
end
redis.call('HSET', KEYS[1], 'd', ARGV[8], 'f', former, 'c', ms(born), 's', ms(now), 'v', r[5], 'x', r[8])
used()
return record(state)
