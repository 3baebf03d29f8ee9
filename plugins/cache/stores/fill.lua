-- KEYS: 2 entry  3 lease  4… stamps
-- ARGV: 4 from  5 key  6 token  7 ttl  8 data  9 number of stamps, (name, value)…
if redis.call('GET', KEYS[3]) ~= ARGV[6] or not stampsStand(9, 4) then return false end
redis.call('SET', KEYS[2], ARGV[8], 'PX', ARGV[7])
redis.call('DEL', KEYS[3])
advance()
tell({ from = ARGV[4], keys = { ARGV[5] }, filled = true })
return { epoch, seq, 0 }
