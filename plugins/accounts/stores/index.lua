-- Puts accounts into the indexes that an earlier version did not keep. What is asked is the account as it is now, so
-- nothing that happens between two runs is lost.
-- KEYS: ids by name, administrators, names in order, account...
-- ARGV: name, id...; in the order of the accounts, then names to take out of the order, if nobody has them, with ''
for i = 1, #ARGV, 2 do
  local name, id = ARGV[i], ARGV[i + 1]
  local owner = redis.call('HGET', KEYS[1], name)
  if not owner then
    redis.call('ZREM', KEYS[3], name)
  elseif owner == id then
    redis.call('ZADD', KEYS[3], 0, name)
    local account = redis.call('HMGET', KEYS[3 + (i + 1) / 2], 'role', 'disabled')
    if account[1] == 'administrator' and account[2] ~= 'true' then
      redis.call('HSET', KEYS[2], id, 1)
    else
      redis.call('HDEL', KEYS[2], id)
    end
  end
end
return 1
