-- Appends commits to the log of one space, all of them or none. Everything is checked before the first write:
-- scripts do not roll back.
--
-- KEYS  1 meta  2 values  3 log  4 epochs  5 clients  6 clients by their last revision
-- ARGV  1 base epoch  2 base revision  3 new incarnation  4 commits to retain  5 channel
--       6 number of commits  7 their records, a line each
--       then the number of those that have a client; then of each: revision, clientId, seq
--       then the number of keys to delete; then they; then to the end: key, entry, …
-- returns {'committed'} | {'duplicate'} | {'conflict', epoch, revision, floor, epochs, log entries after the base}

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
local clients = 8
local deleted = clients + 1 + ARGV[clients] * 3
for i = clients + 1, deleted - 1, 3 do
  local known = redis.call('HGET', KEYS[5], ARGV[i + 1])
  if known and string.find(known, ',' .. ARGV[i + 2] .. ',', 1, true) then return { 'duplicate' } end
end
local base = tonumber(ARGV[2])
if epoch ~= ARGV[1] or revision ~= base then
  -- What the writer has missed comes with the answer: it can try again without asking first.
  local missed = {}
  if base + 1 >= tonumber(floor) and base < revision then
    missed = redis.call('XRANGE', KEYS[3], string.format('%d-0', base + 1), '+')
  end
  return { 'conflict', epoch, revision, floor, redis.call('LRANGE', KEYS[4], 0, -1), missed }
end

-- One entry for all of them, under the revision of the last: it is there as long as one of them is retained, and
-- whoever reads from any of them on finds it.
revision = revision + count
redis.call('XADD', KEYS[3], string.format('%d-0', revision), 'r', ARGV[7])
for i = clients + 1, deleted - 1, 3 do
  local client = ARGV[i + 1]
  local known = redis.call('HGET', KEYS[5], client) or ','
  -- The newest are enough: a client has few writes under way.
  if #known > 2048 then known = ',' .. string.match(string.sub(known, -1024), ',(.*)$') end
  redis.call('HSET', KEYS[5], client, known .. ARGV[i + 2] .. ',')
  redis.call('ZADD', KEYS[6], ARGV[i], client)
end
local written = deleted + 1 + ARGV[deleted]
-- Many with one call, but no more than Lua's stack holds.
for i = deleted + 1, written - 1, 1000 do
  redis.call('HDEL', KEYS[2], unpack(ARGV, i, math.min(i + 999, written - 1)))
end
for i = written, #ARGV, 1000 do
  redis.call('HSET', KEYS[2], unpack(ARGV, i, math.min(i + 999, #ARGV)))
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
local hint = string.format('%s %d %d', epoch, base, revision)
-- Those who stand at the base need not read the log.
if #ARGV[7] <= 32768 then hint = hint .. ' ' .. ARGV[7] end
redis.call('PUBLISH', ARGV[5], hint)
return { 'committed' }
