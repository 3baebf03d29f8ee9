-- KEYS: owner  counter of tokens. ARGV: who  milliseconds  token that they were given before, or 0  least token
-- → token, or {milliseconds that another one still is the owner}
local owner = redis.call('GET', KEYS[1])
if owner and owner ~= ARGV[1] then return { redis.call('PTTL', KEYS[1]) } end
local token = tonumber(redis.call('GET', KEYS[2]) or '0')
-- Nobody has been the owner since: the fences are where they were.
if token ~= tonumber(ARGV[3]) or token == 0 then
  token = math.max(token, tonumber(ARGV[4])) + 1
  redis.call('SET', KEYS[2], token)
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return token
