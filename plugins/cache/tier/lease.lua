-- KEYS: 2 entry  3 lease  4 mark of write-behind. ARGV: 4 token  5 milliseconds  6 version seen
if redis.call('GETRANGE', KEYS[2], 0, 15) ~= ARGV[6] then return { 'changed' } end
if not redis.call('SET', KEYS[3], ARGV[4], 'NX', 'PX', ARGV[5]) then return { 'busy' } end
return { 'granted', epoch, seq, redis.call('GET', KEYS[4]) or '' }
