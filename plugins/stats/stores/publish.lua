-- Leaves an instance's numbers in the hash and drops those of instances that have not renewed theirs.
-- Redis 7.0 cannot expire single fields, so each value begins with the server's time of writing.
-- KEYS[1] hash; ARGV[1] instance, ARGV[2] numbers as JSON, ARGV[3] lifetime in milliseconds
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local lifetime = tonumber(ARGV[3])
local entries = redis.call('HGETALL', KEYS[1])
for i = 1, #entries, 2 do
  local at = tonumber(string.match(entries[i + 1], '^(%d+) '))
  if not at or at + lifetime < now then redis.call('HDEL', KEYS[1], entries[i]) end
end
redis.call('HSET', KEYS[1], ARGV[1], string.format('%d ', now) .. ARGV[2])
redis.call('PEXPIRE', KEYS[1], lifetime)
return 1
