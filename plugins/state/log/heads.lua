-- Where the logs of several spaces stand, for those who only want to know whether anything has changed.
-- KEYS  meta of each   ARGV  1 see head.lua
-- returns 'epoch revision' of each, '' when it is not there or another server process last wrote

local current = ''
if ARGV[1] == 'ask' then current = string.match(redis.call('INFO', 'server'), 'run_id:(%w+)') end
local heads = {}
for i, key in ipairs(KEYS) do
  local head = redis.pcall('HMGET', key, 'epoch', 'revision', 'run')
  local standing = not head.err and head[1] and head[2] and head[3] == current
  heads[i] = standing and head[1] .. ' ' .. head[2] or ''
end
return heads
