-- What a pattern matches goes; a message about the pattern follows.
-- KEYS: 2… entries or leases, the index. ARGV: 4… what the index calls them  → how many were there
local there = 0
for i = 4, #ARGV do
  there = there + redis.call('UNLINK', KEYS[i - 2])
  redis.call('ZREM', KEYS[#KEYS], ARGV[i])
end
return there
