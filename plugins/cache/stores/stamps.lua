-- ARGV: fresh, base, name…  → epoch, stamp…
local answer = { epoch }
for i = 3, #ARGV do
  local value = stamp(ARGV[i])
  if not value then
    -- As old as the latest renewal of any name: a load that began before that must not trust it.
    value = string.format('%d:%s', named, fresh)
    redis.call('SET', base .. 's:' .. ARGV[i], value, 'PX', STAMP_TTL)
  end
  answer[#answer + 1] = value
end
return answer
