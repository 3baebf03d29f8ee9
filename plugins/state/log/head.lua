-- Shared beginning of the scripts of the log. KEYS: 1 meta … 4 epochs.
-- ARGV[1] tells whether the server is the one that last wrote: 'ask' it (a client could only tell what it once knew), or,
-- where it does not tell who it is, what the client knows: 'same', or 'other' when it has not spoken to it before. Then,
-- after a blank, the newest epoch that the client has seen here, if any.
-- Redis has Lua 5.1, Dragonfly 5.4.
local unpack = table.unpack or unpack
local meta = KEYS[1]
local epoch, revision, run, floor = unpack(redis.call('HMGET', meta, 'epoch', 'revision', 'run', 'floor'))
local asked, known = string.match(ARGV[1], '^(%a+) ?(.*)$')
local current = ''
if asked == 'ask' then current = string.match(redis.call('INFO', 'server'), 'run_id:(%w+)') end
local function counterOf(text) return tonumber(string.match(text or '', '^%d+') or 0) end
-- A server that has lost an epoch must not give its number again: tokens of leases would not be newer than lost ones.
local behind = known ~= epoch and counterOf(known) > 0 and counterOf(known) >= counterOf(epoch)
local continued = epoch and current == run and asked ~= 'other' and not behind

-- Another server process than the one that last wrote may have lost the end of the log: what it continues is another
-- history.
local function begin(incarnation)
  -- An epoch that cannot be read fails here: it is not to be written over.
  local counter = math.max(epoch and tonumber(string.match(epoch, '^%d+')) + 1 or 1, counterOf(known) + 1)
  local cause = counter > 1 and 'incarnation' or 'created'
  epoch = string.format('%d', counter) .. ':' .. incarnation
  revision = revision or '0'
  floor = floor or '1'
  redis.call('HSET', meta, 'epoch', epoch, 'revision', revision, 'run', current, 'floor', floor)
  redis.call('RPUSH', KEYS[4], cjson.encode({ epoch = epoch, first = tonumber(revision) + 1, cause = cause }))
  redis.call('LTRIM', KEYS[4], -32, -1)
end
