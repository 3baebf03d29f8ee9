-- KEYS: count. ARGV: its window in ms, what becomes of that beyond the most ('', 'renew', 'double'), the most, the longest
-- Answers the count and how many milliseconds are left of it.
local count = redis.call('INCR', KEYS[1])
local window, most = tonumber(ARGV[1]), tonumber(ARGV[3])
local beyond = ARGV[2] ~= '' and count > most
if count == 1 or beyond then
  if beyond and ARGV[2] == 'double' and count > 1 then
    window = math.min(window * 2 ^ (count - most - 1), tonumber(ARGV[4]))
  end
  redis.call('PEXPIRE', KEYS[1], string.format('%.0f', window))
end
return { count, redis.call('PTTL', KEYS[1]) }
