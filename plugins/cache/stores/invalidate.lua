-- ARGV: fresh, base, from, 'remove' or 'expire', pattern or '', number of names, name…, key…
local removed, keys, names = 0, {}, {}
-- What was made under a stamp that has fallen is there for nobody. For the places see record.ts.
local function stands(key)
  local length = redis.call('GETRANGE', key, 42, 45)
  if #length < 4 then return false end
  local made = cjson.decode(redis.call('GETRANGE', key, 46, 45 + struct.unpack('<I4', length)))
  for i = 1, #made do
    if stamp(made[i][1]) ~= made[i][2] then return false end
  end
  return true
end
-- What cannot be read is there for nobody either, and must go all the same.
local function isThere(key)
  local readable, answer = pcall(stands, key)
  return readable and answer
end
local last = 6 + tonumber(ARGV[6])
advance()
for i = 7, last do
  local value = string.format('%d:%s', seq, fresh)
  if ARGV[i] == '' then
    redis.call('HSET', KEYS[1], 'generation', value)
  else
    redis.call('SET', base .. 's:' .. ARGV[i], value, 'PX', STAMP_TTL)
    redis.call('HSET', KEYS[1], 'named', seq)
  end
  names[#names + 1] = { ARGV[i], value }
end
for i = last + 1, #ARGV do
  local key = base .. 'v:' .. ARGV[i]
  if ARGV[4] == 'remove' then
    if isThere(key) then removed = removed + 1 end
    redis.call('UNLINK', key)
  elseif redis.call('EXISTS', key) == 1 then
    -- The flag stands behind the 16 characters of version. What has no place for it is no entry.
    local marked = redis.pcall('SETRANGE', key, 16, 'x')
    if type(marked) == 'table' then redis.call('UNLINK', key) else removed = removed + 1 end
  end
  redis.call('DEL', base .. 'l:' .. ARGV[i])
  keys[#keys + 1] = ARGV[i]
end
local message = { from = ARGV[3] }
if #keys > 0 then message.keys = keys end
if #names > 0 then message.names = names end
if ARGV[5] ~= '' then message.pattern = ARGV[5] end
tell(message)
return { epoch, seq, removed }
