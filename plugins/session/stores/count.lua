-- How many sessions and owners are live in each bucket.
-- KEYS: of each bucket: expiry index, index of owners   ARGV: now
local counts = {}
for i = 1, #KEYS, 2 do
  local live = '(' .. ARGV[1]
  counts[#counts + 1] = { redis.call('ZCOUNT', KEYS[i], live, '+inf'), redis.call('ZCOUNT', KEYS[i + 1], live, '+inf') }
end
return counts
