-- ARGV: fresh, base, from, number of stamps, (name, value)…, (key, ttl, data)…
local at = stampsStand(4)
if not at then return false end
local keys = {}
for i = at, #ARGV, 3 do
  redis.call('SET', base .. 'v:' .. ARGV[i], ARGV[i + 2], 'PX', ARGV[i + 1])
  redis.call('DEL', base .. 'l:' .. ARGV[i])
  keys[#keys + 1] = ARGV[i]
end
advance()
tell({ from = ARGV[3], keys = keys })
return { epoch, seq, 0 }
