-- Writes what changed of a live session; creates nothing.
-- KEYS: session, expiry index, owner index, index of owners
-- ARGV: id, owner ('' while anonymous), now, seen, expires, keep beyond expiry ms, expected version ('' for any),
--       number of fields to remove, fields to remove..., field, value...
local record = redis.call('HMGET', KEYS[1], 't', 'i')
if not record[1] then return 'gone' end
local current, seen, version = string.match(record[1], '^(%S+) (%S+) (%S+)$')
local ends = string.match(record[2], '^%S+ (%S+)')
local now = tonumber(ARGV[3])
if tonumber(current) <= now then return 'gone' end
if ARGV[7] ~= '' and ARGV[7] ~= version then return 'conflict' end

local removed = tonumber(ARGV[8])
for i = 9, 8 + removed do redis.call('HDEL', KEYS[1], ARGV[i]) end
for i = 9 + removed, #ARGV, 2 do redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1]) end
if #ARGV > 8 then version = string.format('%.0f', tonumber(version) + 1) end
if tonumber(ARGV[4]) > tonumber(seen) then seen = ARGV[4] end

local expires = math.min(tonumber(ends), tonumber(ARGV[5]))
local extended = expires > tonumber(current)
local text = extended and string.format('%.0f', expires) or current
redis.call('HSET', KEYS[1], 't', text .. ' ' .. seen .. ' ' .. version)
if extended then
  local keep = string.format('%.0f', expires - now + tonumber(ARGV[6]))
  redis.call('PEXPIRE', KEYS[1], keep)
  redis.call('ZADD', KEYS[2], text, ARGV[1])
  if ARGV[2] ~= '' then
    redis.call('ZADD', KEYS[3], text, ARGV[1])
    redis.call('ZADD', KEYS[4], 'GT', text, ARGV[2])
    if redis.call('PTTL', KEYS[3]) < tonumber(keep) then redis.call('PEXPIRE', KEYS[3], keep) end
  end
end
return 'saved'
