-- Replaces the content of a space and begins a new epoch with an empty history.
--
-- KEYS  1 meta  2 values  3 log  4 epochs  5 clients  6 clients by their last revision
-- ARGV  1 see head.lua  2 base epoch  3 base revision  4 first revision of the new epoch  5 its incarnation  6 cause
--       7 transaction  8 PUBLISH or SPUBLISH  9 channel  then key, entry, …
-- returns 'committed' | 'conflict'

-- A server that may have lost writes is found out by reading the log, which then tells the epoch to build on.
if not continued or epoch ~= ARGV[2] or tonumber(revision) ~= tonumber(ARGV[3]) then return 'conflict' end

local counter = tonumber(string.match(epoch, '^%d+')) + 1
local first = tonumber(ARGV[4])
epoch = string.format('%d', counter) .. ':' .. ARGV[5]
redis.call('DEL', KEYS[2], KEYS[3], KEYS[5], KEYS[6])
-- Many with one call, but no more than Lua's stack holds.
for i = 10, #ARGV, 1000 do
  redis.call('HSET', KEYS[2], unpack(ARGV, i, math.min(i + 999, #ARGV)))
end
redis.call('HSET', meta, 'epoch', epoch, 'revision', string.format('%d', first), 'floor', string.format('%d', first + 1),
  'bytes', 0)
redis.call('RPUSH', KEYS[4], cjson.encode({ epoch = epoch, first = first, cause = ARGV[6], tx = ARGV[7] }))
redis.call('LTRIM', KEYS[4], -32, -1)
redis.call(ARGV[8], ARGV[9], string.format('%s %d %d', epoch, first - 1, first))
return 'committed'
