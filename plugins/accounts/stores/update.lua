-- KEYS: account, ids by name
-- ARGV: id, new name key ('' to keep it), field, value...
local name = redis.call('HGET', KEYS[1], 'nameKey')
if not name then return 'missing' end
if ARGV[2] ~= '' and ARGV[2] ~= name then
  if redis.call('HEXISTS', KEYS[2], ARGV[2]) == 1 then return 'taken' end
  redis.call('HDEL', KEYS[2], name)
  redis.call('HSET', KEYS[2], ARGV[2], ARGV[1])
end
for i = 3, #ARGV, 2 do redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1]) end
return redis.call('HGETALL', KEYS[1])
