-- Creates a session, or puts it in the place of a former one of the same bucket.
-- KEYS: session, expiry index, owner index, index of owners, login counter, former session, victims...
-- ARGV: id, owner ('' while anonymous), now, created, seen, expires, ends, login (1 or 0), limit (0: none),
--       action, former id ('' for none), requireLive (1 or 0; without a former, whether the id must be new), keep record for ms, tombstone ms, counter ms,
--       logins, number of victims, victims..., meta and fields as the record has them
local id, owner, now = ARGV[1], ARGV[2], tonumber(ARGV[3])
local expires, limit, former = ARGV[6], tonumber(ARGV[9]), ARGV[11]
local victims = tonumber(ARGV[17])

local formerLive = false
if former ~= '' then
  local lives = tonumber(string.match(redis.call('GETRANGE', KEYS[6], 0, 31), '^%S+') or '')
  formerLive = lives and lives > now
  if not formerLive and ARGV[12] == '1' then return {'gone'} end
end

if former == '' and ARGV[12] == '1' then
  local there = string.match(redis.call('GETRANGE', KEYS[1], 0, 31), '^%S+')
  -- A tombstone begins with a word.
  if there and (tonumber(there) or now + 1) > now then return {'taken'} end
end

local function bury(key, name, how)
  redis.call('SET', key, string.format('%s %.0f', how, now + tonumber(ARGV[14])), 'PX', ARGV[14])
  redis.call('ZREM', KEYS[2], name)
  redis.call('ZREM', KEYS[3], name)
end

local evicted = {}
if owner ~= '' and limit > 0 then
  -- Members whose time has passed are no sessions any more, and the list heals itself.
  redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', now)
  local surplus = redis.call('ZCARD', KEYS[3]) + 1 - limit
  if former ~= '' and redis.call('ZSCORE', KEYS[3], former) then surplus = surplus - 1 end
  if surplus > 0 and ARGV[10] == 'refuse' then return {'full'} end
  if surplus > 0 then
    local present = 0
    for i = 1, victims do
      if redis.call('ZSCORE', KEYS[3], ARGV[17 + i]) then present = present + 1 end
    end
    -- Someone else came in between: the caller reads again whom to evict.
    if present < surplus then return {'again', surplus} end
    for i = 1, victims do
      local name = ARGV[17 + i]
      if #evicted < surplus and redis.call('ZSCORE', KEYS[3], name) then
        bury(KEYS[6 + i], name, 'ended')
        evicted[#evicted + 1] = name
      end
    end
  end
end
if formerLive then bury(KEYS[6], former, 'replaced') end

local logins = ARGV[16]
if owner ~= '' and ARGV[8] == '1' then
  logins = redis.call('INCR', KEYS[5])
  redis.call('PEXPIRE', KEYS[5], ARGV[15])
end
local head = table.concat({expires, ARGV[5], '1', ARGV[4], ARGV[7], logins, owner}, ' ')
redis.call('SET', KEYS[1], head .. '\n' .. ARGV[18 + victims], 'PX', ARGV[13])
redis.call('ZADD', KEYS[2], expires, id)
if owner ~= '' then
  redis.call('ZADD', KEYS[3], expires, id)
  redis.call('ZADD', KEYS[4], redis.call('ZREVRANGE', KEYS[3], 0, 0, 'WITHSCORES')[2], owner)
  if redis.call('PTTL', KEYS[3]) < tonumber(ARGV[13]) then redis.call('PEXPIRE', KEYS[3], ARGV[13]) end
end
return {'created', tonumber(logins), evicted}
