-- Appends commits to the log of one space, all of them or none. Everything is checked before the first write:
-- scripts do not roll back.
--
-- KEYS  1 meta  2 values  3 log  4 epochs  5 clients  6 clients by their last revision
-- ARGV  1 base epoch  2 base revision  3 new incarnation  4 commits to retain  5 channel
--       6 number of commits; then of each: record, clientId or '', seq or ''
--       then the number of values; then of each: key, entry or '' to delete
-- returns {'committed' | 'conflict' | 'duplicate', epoch, revision}

local meta = KEYS[1]
local epoch, revision, run, floor = unpack(redis.call('HMGET', meta, 'epoch', 'revision', 'run', 'floor'))
revision = tonumber(revision or '0')

-- Another server process than the one that last wrote may have lost the end of the log: what it continues is
-- another history. Asked here, never passed in: a client could only tell what it once knew.
local current = string.match(redis.call('INFO', 'server'), 'run_id:(%w+)')
if current ~= run then
  local counter = epoch and (tonumber(string.match(epoch, '^%d+')) + 1) or 1
  local cause = epoch and 'incarnation' or 'created'
  epoch = string.format('%d', counter) .. ':' .. ARGV[3]
  floor = floor or '1'
  redis.call('HSET', meta, 'epoch', epoch, 'revision', string.format('%d', revision), 'run', current, 'floor', floor)
  redis.call('RPUSH', KEYS[4], cjson.encode({ epoch = epoch, first = revision + 1, cause = cause }))
  redis.call('LTRIM', KEYS[4], -32, -1)
end

local count = tonumber(ARGV[6])
for i = 0, count - 1 do
  local client, seq = ARGV[8 + i * 3], ARGV[9 + i * 3]
  if client ~= '' then
    local known = redis.call('HGET', KEYS[5], client)
    if known and string.find(known, ',' .. seq .. ',', 1, true) then return { 'duplicate', epoch, revision } end
  end
end
if epoch ~= ARGV[1] or revision ~= tonumber(ARGV[2]) then return { 'conflict', epoch, revision } end

local next = 7
for i = 1, count do
  local record, client, seq = ARGV[next], ARGV[next + 1], ARGV[next + 2]
  next = next + 3
  revision = revision + 1
  redis.call('XADD', KEYS[3], string.format('%d-0', revision), 'r', record)
  if client ~= '' then
    local known = redis.call('HGET', KEYS[5], client) or ','
    -- The newest are enough: a client has few writes under way.
    if #known > 2048 then known = ',' .. string.match(string.sub(known, -1024), ',(.*)$') end
    redis.call('HSET', KEYS[5], client, known .. seq .. ',')
    redis.call('ZADD', KEYS[6], revision, client)
  end
end
local values = tonumber(ARGV[next])
for i = 1, values do
  local key, entry = ARGV[next + i * 2 - 1], ARGV[next + i * 2]
  if entry == '' then redis.call('HDEL', KEYS[2], key) else redis.call('HSET', KEYS[2], key, entry) end
end

local lowest = revision - tonumber(ARGV[4]) + 1
if lowest > tonumber(floor) then
  floor = string.format('%d', lowest)
  redis.call('XTRIM', KEYS[3], 'MINID', floor .. '-0')
  -- What a client did is remembered as long as the log remembers it; a few at a time.
  local forgotten = redis.call('ZRANGE', KEYS[6], '-inf', '(' .. floor, 'BYSCORE', 'LIMIT', 0, 16)
  if #forgotten > 0 then
    redis.call('HDEL', KEYS[5], unpack(forgotten))
    redis.call('ZREM', KEYS[6], unpack(forgotten))
  end
end
redis.call('HSET', meta, 'revision', string.format('%d', revision), 'floor', floor)
redis.call('PUBLISH', ARGV[5], epoch .. ' ' .. string.format('%d', revision))
return { 'committed', epoch, revision }
