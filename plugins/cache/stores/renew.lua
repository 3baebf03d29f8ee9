-- ARGV: fresh, base, key, token, milliseconds (0 gives the lease back)
local key = base .. 'l:' .. ARGV[3]
if redis.call('GET', key) ~= ARGV[4] then return 0 end
if ARGV[5] == '0' then return redis.call('DEL', key) end
return redis.call('PEXPIRE', key, ARGV[5])
