-- KEYS: account, ids by name, administrators, names in order
-- ARGV: id, new name key ('' to keep it), field, value...
local name = redis.call('HGET', KEYS[1], 'nameKey')
if not name then return 'missing' end
if redis.call('ZCARD', KEYS[4]) ~= redis.call('HLEN', KEYS[2]) then return 'unindexed' end
local renamed = ARGV[2] ~= '' and ARGV[2] ~= name
if renamed and redis.call('HEXISTS', KEYS[2], ARGV[2]) == 1 then return 'taken' end

local function after(field)
  for i = 3, #ARGV, 2 do
    if ARGV[i] == field then return ARGV[i + 1] end
  end
  return redis.call('HGET', KEYS[1], field)
end
local administers = after('role') == 'administrator' and after('disabled') ~= 'true'
if not administers and redis.call('HEXISTS', KEYS[3], ARGV[1]) == 1 then
  if redis.call('HLEN', KEYS[3]) == 1 then return 'last' end
  redis.call('HDEL', KEYS[3], ARGV[1])
elseif administers then
  redis.call('HSET', KEYS[3], ARGV[1], 1)
end

if renamed then
  redis.call('HDEL', KEYS[2], name)
  redis.call('HSET', KEYS[2], ARGV[2], ARGV[1])
  redis.call('ZREM', KEYS[4], name)
  redis.call('ZADD', KEYS[4], 0, ARGV[2])
end
for i = 3, #ARGV, 2 do redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1]) end
return redis.call('HGETALL', KEYS[1])
