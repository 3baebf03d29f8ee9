-- KEYS: owner  counter of tokens  whether others wait. ARGV: who  milliseconds  token that they were given before, or 0
--       least token
-- → 'busy', milliseconds that another one still is the owner; or 'owner', token, 1 if others wait
local owner = redis.call('GET', KEYS[1])
if owner and owner ~= ARGV[1] then
  -- Longer than it takes them to ask again, also on a busy machine.
  redis.call('SET', KEYS[3], '1', 'PX', ARGV[2] * 4)
  return { 'busy', redis.call('PTTL', KEYS[1]) }
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
local token = tonumber(redis.call('GET', KEYS[2]) or '0')
-- Otherwise there has been no other owner since: the fences are where they were.
if token ~= tonumber(ARGV[3]) or token == 0 then
  token = math.max(token, tonumber(ARGV[4])) + 1
  redis.call('SET', KEYS[2], token)
  redis.call('DEL', KEYS[3])
end
return { 'owner', token, redis.call('EXISTS', KEYS[3]) }
