-- KEYS: 2… stamps, then (entry, lease)…, the index
-- ARGV: 4 number of stamps, (name, value)…, (key, ttl, data)…
local at, from = stampsStand(4, 2)
if not at then return false end
local keys, members, longest = {}, {}, 0
for i = at, #ARGV, 3 do
  redis.call('SET', KEYS[from], ARGV[i + 2], 'PX', ARGV[i + 1])
  redis.call('DEL', KEYS[from + 1])
  from = from + 2
  keys[#keys + 1] = ARGV[i]
  members[#members + 1] = { 'v:' .. ARGV[i], ARGV[i + 1] }
  redis.call('ZREM', KEYS[#KEYS], 'l:' .. ARGV[i])
  longest = math.max(longest, tonumber(ARGV[i + 1]))
end
if #keys > 0 then keepStamps(4, 2, longest) end
if #keys > 0 then index(members) end
advance()
tell({ keys = keys })
return { epoch, seq, 0 }
