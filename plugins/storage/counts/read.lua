-- KEYS: count
-- Answers the count and how many milliseconds are left of it, or 0 and 0.
local count = redis.call('GET', KEYS[1])
if not count then return { 0, 0 } end
return { tonumber(count), redis.call('PTTL', KEYS[1]) }
