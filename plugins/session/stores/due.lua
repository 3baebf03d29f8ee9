-- Which sessions of each bucket have expired. An owner whose latest expiry has passed has no live session, whatever
-- becomes of the records, and goes.
-- KEYS: of each bucket: expiry index, index of owners   ARGV: now, how many of a bucket at most
local due = {}
for i = 1, #KEYS, 2 do
  due[#due + 1] = redis.call('ZRANGEBYSCORE', KEYS[i], '-inf', ARGV[1], 'LIMIT', 0, ARGV[2])
  redis.call('ZREMRANGEBYSCORE', KEYS[i + 1], '-inf', ARGV[1])
end
return due
