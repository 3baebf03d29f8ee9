-- ARGV: 4 run id of the server, or '' where it has none  5 epoch that is to end, or ''
-- Another run means a restart or a failover: the latest invalidations may be lost with it, so nothing older counts.
-- Where servers do not tell their run, an instance that lost a connection to one ends the epoch that it knew: the first
-- of them does.
local run = redis.call('HGET', KEYS[1], 'run')
if ARGV[5] ~= '' and epoch == ARGV[5] then
  newHead('')
elseif ARGV[4] ~= '' and run ~= ARGV[4] then
  if run == '' then
    redis.call('HSET', KEYS[1], 'run', ARGV[4])
  else
    newHead(ARGV[4])
  end
end
local time = redis.call('TIME')
return { epoch, seq, generation, time[1], time[2] }
