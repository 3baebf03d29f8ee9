-- KEYS: ids by name, names in order
-- ARGV: first name as ZRANGE BYLEX takes it, last name likewise, the most that are wanted
-- Answers the names, then as many ids.
if redis.call('ZCARD', KEYS[2]) ~= redis.call('HLEN', KEYS[1]) then return 'unindexed' end
local names = redis.call('ZRANGE', KEYS[2], ARGV[1], ARGV[2], 'BYLEX', 'LIMIT', 0, ARGV[3])
if #names == 0 then return names end
local ids = redis.call('HMGET', KEYS[1], unpack(names))
for i = 1, #ids do names[#names + 1] = ids[i] or '' end
return names
