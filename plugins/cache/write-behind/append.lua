-- KEYS: 2 entry  3 lease  4 waiting  5 queue  6 marker  7 last number  8 dead letters  9… stamps, the index
-- ARGV: 4 writer  5 key  6 data  7 time to live, or 0 to store nothing  8 most keys that may wait
--       9 dead letter that this is, or ''  10 number of stamps, (name, value)…
-- The number, the place in the queue and the new value in the cache are one step: that is the order of the writes.
local writer, key = ARGV[4], ARGV[5]
local field = writer .. ':' .. key
if ARGV[9] ~= '' then
  if redis.call('XDEL', KEYS[8], ARGV[9]) == 0 then return { 'gone' } end
  if redis.call('HEXISTS', KEYS[4], field) == 1 then return { 'replaced' } end
elseif redis.call('ZCARD', KEYS[5]) >= tonumber(ARGV[8]) and not redis.call('ZSCORE', KEYS[5], key) then
  return { 'full' }
end
-- Microseconds, so that numbers ascend also after the server has lost the last one.
local time = redis.call('TIME')
local number = time[1] * 1000000 + time[2]
local last = tonumber(redis.call('GET', KEYS[7]) or '0')
if number <= last then number = last + 1 end
local id = string.format('%016.0f', number)
redis.call('SET', KEYS[7], id, 'PX', 24 * 3600 * 1000)
redis.call('HSET', KEYS[4], field, id .. ARGV[6])
redis.call('ZADD', KEYS[5], 'NX', id, key)
local marked = redis.call('GET', KEYS[6]) or ','
if not string.find(marked, ',' .. writer .. ',', 1, true) then redis.call('SET', KEYS[6], marked .. writer .. ',') end
local stored = ARGV[7] ~= '0' and stampsStand(10, 9) ~= nil
if stored then
  redis.call('SET', KEYS[2], ARGV[6], 'PX', ARGV[7])
  keepStamps(10, 9, tonumber(ARGV[7]))
  index({ { 'v:' .. key, ARGV[7] } })
else
  redis.call('UNLINK', KEYS[2])
  redis.call('ZREM', KEYS[#KEYS], 'v:' .. key)
end
redis.call('DEL', KEYS[3])
redis.call('ZREM', KEYS[#KEYS], 'l:' .. key)
advance()
tell({ keys = { key } })
return { 'done', id, redis.call('ZCARD', KEYS[5]), stored and 1 or 0, epoch, seq }
