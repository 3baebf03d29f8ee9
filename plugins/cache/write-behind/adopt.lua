-- KEYS: 1 dead letters
-- ARGV: (key, data, reason, at)…
for i = 1, #ARGV, 4 do
  redis.call('XADD', KEYS[1], '*', 'key', ARGV[i], 'data', ARGV[i + 1], 'reason', ARGV[i + 2], 'at', ARGV[i + 3])
end
return #ARGV / 4
