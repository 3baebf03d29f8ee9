-- Exchanges the members of one space between instances. Everything of a space is in one slot.
-- KEYS[1] hash: instance -> its members as JSON   KEYS[2] sorted set: instance by the time when it counts as dead
-- KEYS[3] number of the last change
-- ARGV[1] instance   ARGV[2] lifetime in ms   ARGV[3] its members as JSON, '' when unchanged   ARGV[4] last change known
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

-- After a loss of data an unchanged list is not there any more: it has to be sent again.
if ARGV[3] == '' and redis.call('HEXISTS', KEYS[1], ARGV[1]) == 0 then
  return false
end

local changed = false
for _, dead in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now)) do
  if dead ~= ARGV[1] then
    redis.call('ZREM', KEYS[2], dead)
    redis.call('HDEL', KEYS[1], dead)
    changed = true
  end
end

if ARGV[3] == '[]' then
  -- An instance without members only reads.
  changed = redis.call('HDEL', KEYS[1], ARGV[1]) == 1 or changed
  redis.call('ZREM', KEYS[2], ARGV[1])
else
  if ARGV[3] ~= '' then
    redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
    changed = true
  end
  redis.call('ZADD', KEYS[2], now + ARGV[2], ARGV[1])
end

local version = changed and redis.call('INCR', KEYS[3]) or tonumber(redis.call('GET', KEYS[3]) or 0)
for _, key in ipairs(KEYS) do
  redis.call('PEXPIRE', key, ARGV[2] * 2)
end
if tostring(version) == ARGV[4] then
  return { version }
end
return { version, redis.call('HGETALL', KEYS[1]) }
