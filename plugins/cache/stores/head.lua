-- Shared beginning of every script of the cache. KEYS[1] is the head of the namespace; the other keys are built from
-- the base in ARGV[2]: they carry the same hash tag, hence lie in the same slot.
-- ARGV[1] is unique for this call. A head that is not whole, or not what was written, is made anew: new epoch, new
-- generation.
local fresh, base = ARGV[1], ARGV[2]
local epoch, seq, generation, named
local function newHead(run)
  epoch, seq, generation, named = fresh, 0, '0:' .. fresh, 0
  redis.call('DEL', KEYS[1])
  redis.call('HSET', KEYS[1], 'epoch', epoch, 'seq', 0, 'generation', generation, 'named', 0, 'run', run)
end
do
  local head = redis.pcall('HMGET', KEYS[1], 'epoch', 'seq', 'generation', 'named')
  -- As far as a double counts one by one.
  local function isNumber(text)
    return text and #text < 16 and string.match(text, '^%d+$')
  end
  if not head.err and head[1] and isNumber(head[2]) and head[3] and isNumber(head[4]) then
    epoch, seq, generation, named = head[1], tonumber(head[2]), head[3], tonumber(head[4])
  else
    newHead('')
  end
end
-- A stamp outlives nearly every entry; an entry that outlives its stamp is a miss.
local STAMP_TTL = 30 * 24 * 3600 * 1000
local function stamp(name)
  if name == '' then return generation end
  return redis.call('GET', base .. 's:' .. name)
end
-- ARGV[at] is a number of stamps, followed by their names and values. Answers where they end, or nothing if one fell.
local function stampsStand(at)
  local last = at + 2 * tonumber(ARGV[at])
  for i = at + 1, last, 2 do
    if stamp(ARGV[i]) ~= ARGV[i + 1] then return nil end
  end
  return last + 1
end
local function advance()
  seq = redis.call('HINCRBY', KEYS[1], 'seq', 1)
end
local function tell(message)
  message.epoch, message.seq = epoch, seq
  redis.call('PUBLISH', base .. 'bus', cjson.encode(message))
end
