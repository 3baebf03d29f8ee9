-- KEYS: 2 lease  3… stamps that it names. ARGV: 4 token  5 milliseconds (0 gives the lease back)
if redis.call('GET', KEYS[2]) ~= ARGV[4] then return 0 end
if ARGV[5] == '0' then return redis.call('DEL', KEYS[2]) end
for i = 3, #KEYS do keep(KEYS[i], tonumber(ARGV[5])) end
return redis.call('PEXPIRE', KEYS[2], ARGV[5])
