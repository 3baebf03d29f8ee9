-- KEYS: fence  queue  waiting. ARGV: token  writer  most  → fence, or {key…}
local fence = fenceOf(KEYS[1])
if fence > tonumber(ARGV[1]) then return fence end
redis.call('SET', KEYS[1], ARGV[1], 'PX', FENCE_TTL)
local found = {}
for _, key in ipairs(redis.call('ZRANGE', KEYS[2], 0, ARGV[3] - 1)) do
  if redis.call('HEXISTS', KEYS[3], ARGV[2] .. ':' .. key) == 1 then
    found[#found + 1] = key
  else
    redis.call('ZREM', KEYS[2], key)
  end
end
return found
