-- Adds an entry to the trail, whose oldest entries go.
-- KEYS[1] stream; ARGV[1] entry as JSON, ARGV[2] the most entries
redis.call('XADD', KEYS[1], 'MAXLEN', ARGV[2], '*', 'entry', ARGV[1])
return 1
