-- KEYS: 2 entry  3 lease  4 mark of write-behind  5… stamps, the index
-- ARGV: 4 token  5 milliseconds  6 version seen  7 key  8… name…  → granted, epoch, seq, mark, stamp…
if redis.call('GETRANGE', KEYS[2], 0, 15) ~= ARGV[6] then return { 'changed' } end
if not redis.call('SET', KEYS[3], ARGV[4], 'NX', 'PX', ARGV[5]) then return { 'busy' } end
index({ { 'l:' .. ARGV[7], ARGV[5] } })
local answer = { 'granted', epoch, seq, redis.call('GET', KEYS[4]) or '' }
for i = 8, #ARGV do answer[#answer + 1] = current(ARGV[i], KEYS[i - 3], tonumber(ARGV[5])) end
return answer
