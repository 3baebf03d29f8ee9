-- The numbers of all instances that renewed theirs in time, and how old they are, by the server's clock: theirs may
-- differ.
-- KEYS[1] hash; ARGV[1] lifetime in milliseconds
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local lifetime = tonumber(ARGV[1])
local entries = redis.call('HGETALL', KEYS[1])
local alive = {}
for i = 1, #entries, 2 do
  local at, numbers = string.match(entries[i + 1], '^(%d+) (.*)$')
  if at and tonumber(at) + lifetime >= now then
    alive[#alive + 1] = entries[i]
    alive[#alive + 1] = numbers
    alive[#alive + 1] = string.format('%d', math.max(0, now - tonumber(at)))
  end
end
return alive
