-- Reads the head of a space and what comes after a position, at one moment; begins a new epoch if the server is
-- another process than the one that last wrote (see head.lua). What is not there is empty and stays away: reading
-- makes no space.
--
-- KEYS  1 meta  2 values  3 log  4 epochs
-- ARGV  1 see head.lua  2 new incarnation  3 revision to continue from, or -1 for the whole content
--       4 'make' when a space that is not there shall be made
-- returns {epoch, revision, floor, epochs, log entries, values}

if not epoch and ARGV[4] ~= 'make' then
  epoch = '1:' .. ARGV[2]
  return { epoch, '0', '1', { cjson.encode({ epoch = epoch, first = 1, cause = 'created' }) }, {}, {} }
end
if not continued then begin(ARGV[2]) end

local from = tonumber(ARGV[3])
local epochs = redis.call('LRANGE', KEYS[4], 0, -1)
if from < 0 then
  local log = redis.call('XRANGE', KEYS[3], floor .. '-0', '+')
  return { epoch, revision, floor, epochs, log, redis.call('HGETALL', KEYS[2]) }
end
-- A position that is not retained gets no records; the caller sees that from the floor.
if from + 1 < tonumber(floor) or from >= tonumber(revision) then return { epoch, revision, floor, epochs, {}, {} } end
return { epoch, revision, floor, epochs, redis.call('XRANGE', KEYS[3], string.format('%d-0', from + 1), '+'), {} }
