-- KEYS: 2 entry  3 lease  4… stamps, the index
-- ARGV: 4 key  5 token  6 ttl  7 data  8 number of stamps, (name, value)…
if redis.call('GET', KEYS[3]) ~= ARGV[5] or not stampsStand(8, 4) then return false end
redis.call('SET', KEYS[2], ARGV[7], 'PX', ARGV[6])
keepStamps(8, 4, tonumber(ARGV[6]))
redis.call('DEL', KEYS[3])
redis.call('ZREM', KEYS[#KEYS], 'l:' .. ARGV[4])
index({ { 'v:' .. ARGV[4], ARGV[6] } })
advance()
tell({ keys = { ARGV[4] }, filled = true })
return { epoch, seq, 0 }
