-- Ends sessions of one owner, or one anonymous session, and leaves a tombstone for each that was live.
-- KEYS: expiry index, owner index, index of owners, sessions...
-- ARGV: owner ('' while anonymous), now, tombstone ms, all (1: every session of the owner but the kept one),
--       kept id ('' for none), how they end (a word), ids...
-- Answers the ids that were live; with `all`, 'again' when the owner has a session that was not named.
local owner, now, all, kept = ARGV[1], tonumber(ARGV[2]), ARGV[4] == '1', ARGV[5]
if all then
  local named = {}
  for i = 7, #ARGV do named[ARGV[i]] = true end
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '(' .. ARGV[2], '+inf')) do
    if id ~= kept and not named[id] then return 'again' end
  end
end

local ended = {}
for i = 7, #ARGV do
  local id, key = ARGV[i], KEYS[i - 3]
  -- A tombstone begins with a word.
  local expires = tonumber(string.match(redis.call('GETRANGE', key, 0, 31), '^%S+') or '')
  if expires then
    if expires > now then ended[#ended + 1] = id end
    redis.call('SET', key, string.format('%s %.0f', ARGV[6], now + tonumber(ARGV[3])), 'PX', ARGV[3])
  end
  redis.call('ZREM', KEYS[1], id)
  if owner ~= '' then redis.call('ZREM', KEYS[2], id) end
end

if owner ~= '' then
  local latest = redis.call('ZREVRANGE', KEYS[2], 0, 0, 'WITHSCORES')
  if latest[2] then redis.call('ZADD', KEYS[3], latest[2], owner) else redis.call('ZREM', KEYS[3], owner) end
end
return ended
