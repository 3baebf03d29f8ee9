-- KEYS: count. ARGV: 'get', 'add' or 'set', points, seconds until it is forgotten
-- Answers the count and how many milliseconds are left of it; nothing when there is none.
if ARGV[1] == 'set' then
  redis.call('SET', KEYS[1], ARGV[2], 'EX', ARGV[3])
elseif ARGV[1] == 'add' then
  redis.call('SET', KEYS[1], 0, 'EX', ARGV[3], 'NX')
  redis.call('INCRBY', KEYS[1], ARGV[2])
end
local count = redis.call('GET', KEYS[1])
return count and { tonumber(count), redis.call('PTTL', KEYS[1]) }
