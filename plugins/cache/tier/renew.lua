-- KEYS: 2 lease  3… stamps that it names, the index. ARGV: 4 token  5 milliseconds (0 gives the lease back)  6 key
if redis.call('GET', KEYS[2]) ~= ARGV[4] then return 0 end
if ARGV[5] == '0' then
  redis.call('ZREM', KEYS[#KEYS], 'l:' .. ARGV[6])
  return redis.call('DEL', KEYS[2])
end
for i = 3, #KEYS - 1 do keep(KEYS[i], tonumber(ARGV[5])) end
index({ { 'l:' .. ARGV[6], ARGV[5] } })
return redis.call('PEXPIRE', KEYS[2], ARGV[5])
