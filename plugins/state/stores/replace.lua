-- Replaces the content of a space and begins a new epoch with an empty history.
--
-- KEYS  1 meta  2 values  3 log  4 epochs  5 clients  6 clients by their last revision
-- ARGV  1 base epoch  2 base revision  3 new incarnation  4 cause  5 transaction  6 channel
--       then key, entry, …
-- returns 'committed' | 'conflict'

local epoch, revision, run = unpack(redis.call('HMGET', KEYS[1], 'epoch', 'revision', 'run'))
local current = string.match(redis.call('INFO', 'server'), 'run_id:(%w+)')
-- A server that may have lost writes is found out by reading the log, which then tells the epoch to build on.
if current ~= run or epoch ~= ARGV[1] or tonumber(revision) ~= tonumber(ARGV[2]) then return 'conflict' end

local counter = tonumber(string.match(epoch, '^%d+')) + 1
local first = tonumber(revision) + 1
epoch = string.format('%d', counter) .. ':' .. ARGV[3]
redis.call('DEL', KEYS[2], KEYS[3], KEYS[5], KEYS[6])
-- Many with one call, but no more than Lua's stack holds.
for i = 7, #ARGV, 1000 do
  redis.call('HSET', KEYS[2], unpack(ARGV, i, math.min(i + 999, #ARGV)))
end
redis.call('HSET', KEYS[1], 'epoch', epoch, 'revision', string.format('%d', first), 'floor', string.format('%d', first + 1))
redis.call('RPUSH', KEYS[4], cjson.encode({ epoch = epoch, first = first, cause = ARGV[4], tx = ARGV[5] }))
redis.call('LTRIM', KEYS[4], -32, -1)
redis.call('PUBLISH', ARGV[6], string.format('%s %d %d', epoch, first - 1, first))
return 'committed'
