-- Adds a sample and lets go of those that are too old, by the server's clock: that of one instance may be wrong.
-- KEYS[1] sorted set of samples by their moments
-- ARGV[1] moment, ARGV[2] sample as JSON, ARGV[3] how long samples are kept in milliseconds, ARGV[4] the most of them
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - ARGV[3])
redis.call('ZADD', KEYS[1], ARGV[1], ARGV[2])
local surplus = redis.call('ZCARD', KEYS[1]) - ARGV[4]
if surplus > 0 then redis.call('ZREM', KEYS[1], unpack(redis.call('ZRANGE', KEYS[1], 0, math.min(surplus, 100) - 1))) end
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return 1
