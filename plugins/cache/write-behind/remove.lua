-- KEYS: fence  queue  waiting  marker. ARGV: token  writer  (key, id)…
if fenceOf(KEYS[1]) > tonumber(ARGV[1]) then return 0 end
for i = 3, #ARGV, 2 do release(KEYS[2], KEYS[3], ARGV[2], ARGV[i], ARGV[i + 1]) end
unmark(KEYS[2], KEYS[4], ARGV[2])
return 1
