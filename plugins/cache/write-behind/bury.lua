-- KEYS: 2 fence  3 queue  4 waiting  5 marker  6 dead letters, then (entry, lease)…, the index
-- ARGV: 4 token  5 writer  (key, id, data, reason, at)…  → which of them were buried, or 0
if fenceOf(KEYS[2]) > tonumber(ARGV[4]) then return 0 end
local keys, buried, at = {}, {}, 7
for i = 6, #ARGV, 5 do
  if release(KEYS[3], KEYS[4], ARGV[5], ARGV[i], ARGV[i + 1]) then
    redis.call('XADD', KEYS[6], '*', 'key', ARGV[i], 'data', ARGV[i + 2], 'reason', ARGV[i + 3], 'at', ARGV[i + 4])
    -- What is not going to be persisted must no longer be read.
    redis.call('UNLINK', KEYS[at])
    redis.call('DEL', KEYS[at + 1])
    redis.call('ZREM', KEYS[#KEYS], 'v:' .. ARGV[i], 'l:' .. ARGV[i])
    keys[#keys + 1] = ARGV[i]
    buried[#buried + 1] = (i - 1) / 5
  end
  at = at + 2
end
unmark(KEYS[3], KEYS[5], ARGV[5])
if #keys > 0 then
  advance()
  tell({ keys = keys })
end
return buried
