-- KEYS: account, ids by name, administrators, names in order
-- ARGV: id
local name = redis.call('HGET', KEYS[1], 'nameKey')
if not name then return 'missing' end
if redis.call('ZCARD', KEYS[4]) ~= redis.call('HLEN', KEYS[2]) then return 'unindexed' end
if redis.call('HEXISTS', KEYS[3], ARGV[1]) == 1 and redis.call('HLEN', KEYS[3]) == 1 then return 'last' end
redis.call('DEL', KEYS[1])
redis.call('HDEL', KEYS[2], name)
redis.call('HDEL', KEYS[3], ARGV[1])
redis.call('ZREM', KEYS[4], name)
return 'deleted'
