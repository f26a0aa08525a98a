-- Put messages on the bus; the id of the last one.
-- KEYS: the stream
-- ARGV: how many messages to keep; the messages
-- XTRIM first: once a script has written, a full server lets it go on, and a drop must get through.
redis.call('XTRIM', KEYS[1], 'MAXLEN', '~', ARGV[1])
local id
for place = 2, #ARGV do
  id = redis.call('XADD', KEYS[1], '*', 'd', ARGV[place])
end
return id
