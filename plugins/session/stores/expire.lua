-- Removes a session whose time has passed; answers 1 to the one caller that did.
-- KEYS: session, expiry index, owner index, index of owners
-- ARGV: id, owner ('' while anonymous or unknown), now
local expires = redis.call('ZSCORE', KEYS[2], ARGV[1])
if not expires or tonumber(expires) > tonumber(ARGV[3]) then return 0 end
redis.call('ZREM', KEYS[2], ARGV[1])
redis.call('DEL', KEYS[1])
if ARGV[2] ~= '' then
  redis.call('ZREM', KEYS[3], ARGV[1])
  if redis.call('EXISTS', KEYS[3]) == 0 then redis.call('ZREM', KEYS[4], ARGV[2]) end
end
return 1
