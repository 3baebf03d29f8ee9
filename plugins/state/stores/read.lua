-- Reads the head of a space and what comes after a position, at one moment; begins a new epoch if the server is
-- another process than the one that last wrote (see commit.lua). What is not there is empty and stays away: reading
-- makes no space.
--
-- KEYS  1 meta  2 values  3 log  4 epochs
-- ARGV  1 new incarnation  2 revision to continue from, or -1 for the whole content
--       3 'make' when a space that is not there shall be made
-- returns {epoch, revision, floor, epochs, log entries, values}

local meta = KEYS[1]
local epoch, revision, run, floor = unpack(redis.call('HMGET', meta, 'epoch', 'revision', 'run', 'floor'))
local current = string.match(redis.call('INFO', 'server'), 'run_id:(%w+)')
if not epoch and ARGV[3] ~= 'make' then
  epoch = '1:' .. ARGV[1]
  return { epoch, '0', '1', { cjson.encode({ epoch = epoch, first = 1, cause = 'created' }) }, {}, {} }
end
if current ~= run then
  local counter = epoch and (tonumber(string.match(epoch, '^%d+')) + 1) or 1
  local cause = epoch and 'incarnation' or 'created'
  epoch = string.format('%d', counter) .. ':' .. ARGV[1]
  revision = revision or '0'
  floor = floor or '1'
  redis.call('HSET', meta, 'epoch', epoch, 'revision', revision, 'run', current, 'floor', floor)
  redis.call('RPUSH', KEYS[4], cjson.encode({ epoch = epoch, first = tonumber(revision) + 1, cause = cause }))
  redis.call('LTRIM', KEYS[4], -32, -1)
end

local from = tonumber(ARGV[2])
local epochs = redis.call('LRANGE', KEYS[4], 0, -1)
if from < 0 then
  local log = redis.call('XRANGE', KEYS[3], floor .. '-0', '+')
  return { epoch, revision, floor, epochs, log, redis.call('HGETALL', KEYS[2]) }
end
-- A position that is not retained gets no records; the caller sees that from the floor.
if from + 1 < tonumber(floor) or from >= tonumber(revision) then return { epoch, revision, floor, epochs, {}, {} } end
return { epoch, revision, floor, epochs, redis.call('XRANGE', KEYS[3], string.format('%d-0', from + 1), '+'), {} }
