-- ARGV: fresh, base, key, token, milliseconds, version seen
if redis.call('GETRANGE', base .. 'v:' .. ARGV[3], 0, 15) ~= ARGV[6] then return { 'changed' } end
if not redis.call('SET', base .. 'l:' .. ARGV[3], ARGV[4], 'NX', 'PX', ARGV[5]) then return { 'busy' } end
return { 'granted', epoch, seq }
