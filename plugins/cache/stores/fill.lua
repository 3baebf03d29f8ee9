-- ARGV: fresh, base, from, key, token, ttl, data, number of stamps, (name, value)…
if redis.call('GET', base .. 'l:' .. ARGV[4]) ~= ARGV[5] or not stampsStand(8) then return false end
redis.call('SET', base .. 'v:' .. ARGV[4], ARGV[7], 'PX', ARGV[6])
redis.call('DEL', base .. 'l:' .. ARGV[4])
advance()
tell({ from = ARGV[3], keys = { ARGV[4] }, filled = true })
return { epoch, seq, 0 }
