-- Shared beginning of every script of the cache. KEYS[1] is the head of the bucket; every other key that a script
-- touches follows, all with the same hash tag, hence in one slot.
-- ARGV[1] is unique for this call, ARGV[2] PUBLISH or SPUBLISH, ARGV[3] the channel. A head that is not whole, or not
-- what was written, is made again: new epoch, new generation.
local fresh = ARGV[1]
local epoch, seq, generation, named, indexed
local function newHead(run)
  epoch, seq, generation, named, indexed = fresh, 0, '0:' .. fresh, 0, 0
  redis.call('DEL', KEYS[1])
  redis.call('HSET', KEYS[1], 'epoch', epoch, 'seq', 0, 'generation', generation, 'named', 0, 'run', run)
end
do
  local head = redis.pcall('HMGET', KEYS[1], 'epoch', 'seq', 'generation', 'named', 'indexed')
  -- As far as a double counts one by one.
  local function isNumber(text)
    return text and #text < 16 and string.match(text, '^%d+$')
  end
  if not head.err and head[1] and isNumber(head[2]) and head[3] and isNumber(head[4]) then
    epoch, seq, generation, named = head[1], tonumber(head[2]), head[3], tonumber(head[4])
    indexed = isNumber(head[5]) and tonumber(head[5]) or 0
  else
    newHead('')
  end
end
-- For how long a stamp is kept that nothing has been made under yet; the same as in contract.ts.
local STAMP_LIFE = 1000
-- The generation stands in the head; where its key is asked for, the head's stands.
local function stamp(name, key)
  if name == '' then return generation end
  return redis.call('GET', key)
end
-- A stamp lasts as long as what was made under it; an entry that outlives its stamp is a miss.
local function keep(key, ms)
  if redis.call('PTTL', key) < ms then redis.call('PEXPIRE', key, ms) end
end
-- The stamp of a name, made if it is missing, and kept for so many milliseconds.
local function current(name, key, ms)
  local value = stamp(name, key)
  if not value then
    -- As old as the latest renewal of any name: a load that began before that must not trust it.
    value = string.format('%d:%s', named, fresh)
    redis.call('SET', key, value, 'PX', ms)
  elseif name ~= '' then
    keep(key, ms)
  end
  return value
end
-- ARGV[at] is a number of stamps, followed by their names and values; their keys begin at KEYS[from]. Answers where the
-- arguments and the keys go on, or nothing if one fell.
local function stampsStand(at, from)
  local number = tonumber(ARGV[at])
  for i = 0, number - 1 do
    if stamp(ARGV[at + 1 + 2 * i], KEYS[from + i]) ~= ARGV[at + 2 + 2 * i] then return nil end
  end
  return at + 1 + 2 * number, from + number
end
-- The same stamps, for as long as the entries that are made under them.
local function keepStamps(at, from, ms)
  for i = 0, tonumber(ARGV[at]) - 1 do
    if ARGV[at + 1 + 2 * i] ~= '' then keep(KEYS[from + i], ms) end
  end
end
-- The index names each entry ('v:' and its key) and lease ('l:') of the namespace, with the end of its time, so that a
-- pattern need not go through the keys of others. It lasts until `indexed`, when all that it names is over; the empty
-- member, which is written first, is missing from one that the server has evicted and that was begun again since.
local function now()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end
local function isWhole()
  return indexed <= now() or redis.call('ZSCORE', KEYS[#KEYS], '') ~= false
end
-- Pairs of a member and its milliseconds.
local function index(members)
  local key, at, last = KEYS[#KEYS], now(), 0
  if indexed <= at then
    redis.call('UNLINK', key)
    redis.call('ZADD', key, '+inf', '')
  elseif seq % 8 == 0 then
    -- What is over goes, some at a time: more than come.
    local over = redis.call('ZRANGEBYSCORE', key, '-inf', at, 'LIMIT', 0, 80)
    if #over > 0 then redis.call('ZREM', key, unpack(over)) end
  end
  for i = 1, #members do
    local ends = at + members[i][2]
    redis.call('ZADD', key, string.format('%.0f', ends), members[i][1])
    last = math.max(last, ends)
  end
  if last > indexed then
    -- Longer than now needed, so that not each entry has to write it down.
    indexed = math.floor(last + (last - at) / 4)
    redis.call('HSET', KEYS[1], 'indexed', string.format('%.0f', indexed))
    redis.call('PEXPIRE', key, string.format('%.0f', indexed - at))
  end
end
local function advance()
  seq = redis.call('HINCRBY', KEYS[1], 'seq', 1)
end
local function tell(message)
  message.epoch, message.seq = epoch, seq
  redis.call(ARGV[2], ARGV[3], cjson.encode(message))
end
