-- KEYS: pending, dead. ARGV: (id, namespace, key, data, reason, at)…
for i = 1, #ARGV, 6 do
  -- Only what is still pending: burying twice makes one letter.
  if redis.call('XDEL', KEYS[1], ARGV[i]) == 1 then
    redis.call('XADD', KEYS[2], '*', 'ns', ARGV[i + 1], 'key', ARGV[i + 2], 'data', ARGV[i + 3],
      'reason', ARGV[i + 4], 'at', ARGV[i + 5])
  end
end
return 1
