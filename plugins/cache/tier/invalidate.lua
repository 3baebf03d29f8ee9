-- KEYS: 2… stamps to renew, stamps that the entries were made under, then (entry, lease)…, the index
-- ARGV: 4 'remove' or 'expire'  5 pattern or ''  6 'exactly', or 'roughly' when entries whose stamps are not
--       among the keys count as there
--       7 number of names, name…; number of names that the entries were made under, name…; key…
-- Answers {'again', names} before it has changed anything, when an entry was made under others than those.
local exactly, renewed = ARGV[6] == 'exactly', tonumber(ARGV[7])
local made = tonumber(ARGV[8 + renewed])
local first = 9 + renewed + made
-- Where the stamp of each name is; that of one that is renewed falls.
local stampKeys, falls = {}, {}
for i = 1, made do stampKeys[ARGV[8 + renewed + i]] = KEYS[1 + renewed + i] end
for i = 1, renewed do falls[ARGV[7 + i]] = true end

-- What was made under a stamp that has fallen is not there for readers. For the places see record.ts.
local unknown = {}
local function stands(key)
  local length = redis.call('GETRANGE', key, 42, 45)
  if #length < 4 then return false end
  local under = cjson.decode(redis.call('GETRANGE', key, 46, 45 + struct.unpack('<I4', length)))
  for i = 1, #under do
    local name, value = under[i][1], under[i][2]
    if falls[name] then return false end
    if name ~= '' and not stampKeys[name] then
      unknown[#unknown + 1] = name
    elseif stamp(name, stampKeys[name]) ~= value then
      return false
    end
  end
  return true
end

local removed = 0
if ARGV[4] == 'remove' then
  local seen = {}
  for i = first, #ARGV do
    if not seen[ARGV[i]] then
      seen[ARGV[i]] = true
      -- What cannot be read is not there for readers either, and must go all the same.
      local readable, isThere = pcall(stands, KEYS[2 + renewed + made + 2 * (i - first)])
      if readable and isThere then removed = removed + 1 end
    end
  end
  if exactly and #unknown > 0 then return { 'again', unknown } end
end

local keys, names, lost = {}, {}, false
advance()
-- Nothing older counts, so the index begins again.
local function clear(value)
  redis.call('HSET', KEYS[1], 'generation', value)
  redis.call('HDEL', KEYS[1], 'indexed')
  redis.call('UNLINK', KEYS[#KEYS])
end
for i = 1, renewed do
  local name, value = ARGV[7 + i], string.format('%d:%s', seq, fresh)
  if name == '' then
    clear(value)
  else
    redis.call('SET', KEYS[1 + i], value, 'PX', math.max(redis.call('PTTL', KEYS[1 + i]), STAMP_LIFE))
    redis.call('HSET', KEYS[1], 'named', seq)
  end
  names[#names + 1] = { name, value }
end
for i = first, #ARGV do
  local entry = 2 + renewed + made + 2 * (i - first)
  local key = KEYS[entry]
  if ARGV[4] == 'remove' then
    redis.call('UNLINK', key)
    redis.call('ZREM', KEYS[#KEYS], 'v:' .. ARGV[i])
  elseif redis.call('EXISTS', key) == 1 then
    -- The flag stands behind the 16 characters of version. What has no place for it is no entry.
    local marked = redis.pcall('SETRANGE', key, 16, 'x')
    if type(marked) == 'table' then redis.call('UNLINK', key) else removed = removed + 1 end
  end
  redis.call('DEL', KEYS[entry + 1])
  redis.call('ZREM', KEYS[#KEYS], 'l:' .. ARGV[i])
  keys[#keys + 1] = ARGV[i]
end
-- The walk through the index has missed what an index that was evicted had named.
if ARGV[5] ~= '' and not isWhole() then
  local value = string.format('%d:%s', seq, fresh)
  clear(value)
  names[#names + 1] = { '', value }
  lost = true
end
local message = {}
if #keys > 0 then message.keys = keys end
if #names > 0 then message.names = names end
if ARGV[5] ~= '' then message.pattern = ARGV[5] end
tell(message)
return { epoch, seq, removed, lost and 1 or 0 }
