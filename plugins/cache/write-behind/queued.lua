-- KEYS: queue  waiting. ARGV: writer  most  → key, since which number it waits, number of its latest write, …
local found = {}
local queued = redis.call('ZRANGE', KEYS[1], 0, ARGV[2] - 1, 'WITHSCORES')
for i = 1, #queued, 2 do
  local value = redis.call('HGET', KEYS[2], ARGV[1] .. ':' .. queued[i])
  if value then
    found[#found + 1] = queued[i]
    found[#found + 1] = queued[i + 1]
    found[#found + 1] = string.sub(value, 1, 16)
  end
end
return found
