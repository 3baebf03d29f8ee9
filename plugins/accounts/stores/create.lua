-- KEYS: account, ids by name, administrators, names in order
-- ARGV: id, name key, whether it is an administrator who can log in (1), field, value...
if redis.call('EXISTS', KEYS[1]) == 1 or redis.call('HEXISTS', KEYS[2], ARGV[2]) == 1 then return 0 end
redis.call('HSET', KEYS[2], ARGV[2], ARGV[1])
redis.call('ZADD', KEYS[4], 0, ARGV[2])
if ARGV[3] == '1' then redis.call('HSET', KEYS[3], ARGV[1], 1) end
for i = 4, #ARGV, 2 do redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1]) end
return 1
