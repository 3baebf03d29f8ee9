-- Shared beginning of the scripts of the log. KEYS: 1 meta … 4 epochs.
-- ARGV[1] tells whether the server is the one that last wrote: 'ask' it (a client could only tell what it once knew), or,
-- where it does not tell who it is, what the client knows: 'same', or 'other' when it has not spoken to it before.
-- Redis has Lua 5.1, Dragonfly 5.4.
local unpack = table.unpack or unpack
local meta = KEYS[1]
local epoch, revision, run, floor = unpack(redis.call('HMGET', meta, 'epoch', 'revision', 'run', 'floor'))
local current = ''
if ARGV[1] == 'ask' then current = string.match(redis.call('INFO', 'server'), 'run_id:(%w+)') end
local continued = epoch and current == run and ARGV[1] ~= 'other'

-- Another server process than the one that last wrote may have lost the end of the log: what it continues is another
-- history.
local function begin(incarnation)
  local counter = epoch and (tonumber(string.match(epoch, '^%d+')) + 1) or 1
  local cause = epoch and 'incarnation' or 'created'
  epoch = string.format('%d', counter) .. ':' .. incarnation
  revision = revision or '0'
  floor = floor or '1'
  redis.call('HSET', meta, 'epoch', epoch, 'revision', revision, 'run', current, 'floor', floor)
  redis.call('RPUSH', KEYS[4], cjson.encode({ epoch = epoch, first = tonumber(revision) + 1, cause = cause }))
  redis.call('LTRIM', KEYS[4], -32, -1)
end
