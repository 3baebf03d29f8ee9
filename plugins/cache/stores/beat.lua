-- ARGV: fresh, base, run id of the server or ''
-- Another run means a restart or a failover: the latest invalidations may be lost with it, so nothing older counts.
local run = redis.call('HGET', KEYS[1], 'run')
if ARGV[3] ~= '' and run ~= ARGV[3] then
  if run == '' then
    redis.call('HSET', KEYS[1], 'run', ARGV[3])
  else
    newHead(ARGV[3])
  end
end
local time = redis.call('TIME')
return { epoch, seq, generation, time[1], time[2] }
