-- Appends commits to the log of one space, all of them or none. Everything is checked before the first write:
-- scripts do not roll back.
--
-- KEYS  1 meta  2 values  3 log  4 epochs  5 clients  6 clients by their last revision
-- ARGV  1 see head.lua  2 base epoch  3 base revision  4 new incarnation  5 commits and  6 bytes of history to retain
--       7 PUBLISH or SPUBLISH  8 channel  9 number of commits  10 their records, a line each
--       then the number of those that have a client; then of each: revision, clientId, seq
--       then the number of keys to delete; then they; then to the end: key, entry, …
-- returns {'committed', bytes of the log} | {'duplicate'} | {'conflict', epoch, revision, floor, epochs,
--   log entries after the base}

if not continued then begin(ARGV[4]) end
revision = tonumber(revision)

local count = tonumber(ARGV[9])
local records = ARGV[10]
local clients = 11
local deleted = clients + 1 + ARGV[clients] * 3
for i = clients + 1, deleted - 1, 3 do
  local known = redis.call('HGET', KEYS[5], ARGV[i + 1])
  if known and string.find(known, ',' .. ARGV[i + 2] .. ':', 1, true) then return { 'duplicate' } end
end
local base = tonumber(ARGV[3])
if epoch ~= ARGV[2] or revision ~= base then
  -- What the writer has missed comes with the answer: it can try again without asking first.
  local missed = {}
  if base + 1 >= tonumber(floor) and base < revision then
    missed = redis.call('XRANGE', KEYS[3], string.format('%d-0', base + 1), '+')
  end
  return { 'conflict', epoch, revision, floor, redis.call('LRANGE', KEYS[4], 0, -1), missed }
end

-- One entry for all of them, under the revision of the last: it is there as long as one of them is retained, and
-- a reader that begins at any of them finds it.
revision = revision + count
redis.call('XADD', KEYS[3], string.format('%d-0', revision), 'r', records)
for i = clients + 1, deleted - 1, 3 do
  local client = ARGV[i + 1]
  local known = redis.call('HGET', KEYS[5], client) or ','
  -- The newest are enough: a client has few writes under way.
  if #known > 2048 then known = ',' .. string.match(string.sub(known, -1024), ',(.*)$') end
  redis.call('HSET', KEYS[5], client, known .. ARGV[i + 2] .. ':' .. ARGV[i] .. ',')
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

-- From the oldest entry on, mostly one at a commit; the newest stays, whatever its size.
local lowest = math.max(tonumber(floor), revision - tonumber(ARGV[5]) + 1)
local bytes = tonumber(redis.call('HGET', meta, 'bytes') or 0) + #records
local most = tonumber(ARGV[6])
for _ = 1, 64 do
  local oldest = redis.call('XRANGE', KEYS[3], '-', '+', 'COUNT', 1)[1]
  local id = tonumber(string.match(oldest[1], '^%d+'))
  if id == revision or (id >= lowest and bytes <= most) then break end
  bytes = bytes - #oldest[2][2]
  lowest = math.max(lowest, id + 1)
  redis.call('XTRIM', KEYS[3], 'MINID', string.format('%d-0', id + 1))
end
if lowest > tonumber(floor) then
  floor = string.format('%d', lowest)
  -- What a client did is remembered as long as the log remembers it; a few at a time.
  local forgotten = redis.call('ZRANGE', KEYS[6], '-inf', '(' .. floor, 'BYSCORE', 'LIMIT', 0, 16)
  if #forgotten > 0 then
    redis.call('HDEL', KEYS[5], unpack(forgotten))
    redis.call('ZREM', KEYS[6], unpack(forgotten))
  end
end
redis.call('HSET', meta, 'revision', string.format('%d', revision), 'floor', floor, 'bytes', bytes)
local hint = string.format('%s %d %d', epoch, base, revision)
-- Those who stand at the base need not read the log.
if #records <= 32768 then hint = hint .. ' ' .. records end
redis.call(ARGV[7], ARGV[8], hint)
return { 'committed', bytes }
