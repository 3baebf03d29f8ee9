-- KEYS: 2… the key of each. ARGV: 4… name…  → epoch, stamp…
local answer = { epoch }
for i = 4, #ARGV do
  local key = KEYS[i - 2]
  local value = stamp(ARGV[i], key)
  if not value then
    -- As old as the latest renewal of any name: a load that began before that must not trust it.
    value = string.format('%d:%s', named, fresh)
    redis.call('SET', key, value, 'PX', STAMP_TTL)
  end
  answer[#answer + 1] = value
end
return answer
