-- Writes what changed of a live session; creates nothing.
-- KEYS: session, expiry index, owner index, index of owners
-- ARGV: id, owner ('' while anonymous), now, seen, expires, keep beyond expiry ms, expected version ('' for any),
--       later end ('' for none), meta ('' for the present one), number of fields to remove, fields to remove..., field, value...
-- The record is a head (expires seen version created ends …), a line of meta, and two lines for each field.
local record = redis.call('GET', KEYS[1]) or ''
local current, seen, version, fixed, meta, body = string.match(record, '^(%S+) (%S+) (%S+) ([^\n]*)\n([^\n]*)\n(.*)$')
if not current then return 'gone' end
local created, ends, rest = string.match(fixed, '^(%S+) (%S+) (.*)$')
local now = tonumber(ARGV[3])
if tonumber(current) <= now then return 'gone' end
if ARGV[7] ~= '' and ARGV[7] ~= version then return 'conflict' end

if ARGV[8] ~= '' and tonumber(ARGV[8]) > tonumber(ends) then
  ends = ARGV[8]
  fixed = table.concat({created, ends, rest}, ' ')
end
if ARGV[9] ~= '' then meta = ARGV[9] end
local set = 11 + tonumber(ARGV[10])
if #ARGV > 10 then
  -- The text of each field that changes; false for one that goes.
  local changes, lines = {}, {}
  for i = 11, set - 1 do changes[ARGV[i]] = false end
  for i = set, #ARGV, 2 do changes[ARGV[i]] = ARGV[i + 1] end
  local function add(name, text)
    lines[#lines + 1] = name .. '\n' .. text .. '\n'
  end
  for name, text in string.gmatch(body, '([^\n]*)\n([^\n]*)\n') do
    local change = changes[name]
    if change == nil then add(name, text) elseif change then add(name, change) end
    changes[name] = nil
  end
  for i = set, #ARGV, 2 do
    if changes[ARGV[i]] then add(ARGV[i], ARGV[i + 1]) end
  end
  body = table.concat(lines)
  version = string.format('%.0f', tonumber(version) + 1)
end
if tonumber(ARGV[4]) > tonumber(seen) then seen = ARGV[4] end

local expires = math.min(tonumber(ends), tonumber(ARGV[5]))
local extended = expires > tonumber(current)
local text = extended and string.format('%.0f', expires) or current
local head = table.concat({text, seen, version, fixed}, ' ')
redis.call('SET', KEYS[1], table.concat({head, meta, body}, '\n'), 'KEEPTTL')
if extended then
  local keep = string.format('%.0f', expires - now + tonumber(ARGV[6]))
  redis.call('PEXPIRE', KEYS[1], keep)
  redis.call('ZADD', KEYS[2], text, ARGV[1])
  if ARGV[2] ~= '' then
    redis.call('ZADD', KEYS[3], text, ARGV[1])
    redis.call('ZADD', KEYS[4], 'GT', text, ARGV[2])
    if redis.call('PTTL', KEYS[3]) < tonumber(keep) then redis.call('PEXPIRE', KEYS[3], keep) end
  end
end
return 'saved'
