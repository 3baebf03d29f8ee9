-- Reads the head of a space and what comes after a position, at one moment; begins a new epoch if the server is
-- another process than the one that last wrote (see head.lua). What is not there is empty and stays away: reading
-- makes no space.
--
-- KEYS  1 meta  2 values  3 log  4 epochs  5 clients
-- ARGV  1 see head.lua  2 new incarnation  3 revision to continue from, or -1 for the whole content
--       4 'make' when a space that is not there shall be made  5 entries of the log that are needed, 0 for all
--       6 commits and  7 bytes of the newest history that the whole content comes with
-- returns {epoch, revision, floor, epochs, log entries, bytes of the log, values, clients}

if not epoch and ARGV[4] ~= 'make' then
  epoch = string.format('%d', counterOf(known) + 1) .. ':' .. ARGV[2]
  return { epoch, '0', '1', { cjson.encode({ epoch = epoch, first = 1, cause = 'created' }) }, {}, 0, {}, {} }
end
if not continued then begin(ARGV[2]) end

local from = tonumber(ARGV[3])
local epochs = redis.call('LRANGE', KEYS[4], 0, -1)
local bytes = tonumber(redis.call('HGET', meta, 'bytes') or 0)
if from < 0 then
  -- Newest first, one at a time as they may be long, until it is enough; then the other way round.
  local newest, length, last = {}, 0, '+'
  local lowest = math.max(tonumber(floor), tonumber(revision) - tonumber(ARGV[6]) + 1)
  while last do
    local entry = redis.call('XREVRANGE', KEYS[3], last, string.format('%d-0', lowest), 'COUNT', 1)[1]
    last = nil
    if entry then
      newest[#newest + 1] = entry
      length = length + #entry[2][2]
      if length < tonumber(ARGV[7]) then
        last = string.format('%d-0', tonumber(string.match(entry[1], '^%d+')) - 1)
      end
    end
  end
  local log = {}
  for i = #newest, 1, -1 do log[#log + 1] = newest[i] end
  return { epoch, revision, floor, epochs, log, bytes, redis.call('HGETALL', KEYS[2]), redis.call('HGETALL', KEYS[5]) }
end
-- A position that is not retained gets no records; the caller sees that from the floor.
local log = {}
if from + 1 >= tonumber(floor) and from < tonumber(revision) then
  local first = string.format('%d-0', from + 1)
  if ARGV[5] == '0' then
    log = redis.call('XRANGE', KEYS[3], first, '+')
  else
    log = redis.call('XRANGE', KEYS[3], first, '+', 'COUNT', ARGV[5])
  end
end
return { epoch, revision, floor, epochs, log, bytes, {}, {} }
