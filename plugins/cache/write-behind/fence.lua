-- Shared beginning of what an owner does to one namespace's part of a journal. `fence`, `queue`, `waiting` and `marker`
-- are keys; `token` is the owner's. What an owner does whose token is below the fence must change nothing.
local FENCE_TTL = 24 * 3600 * 1000
local function fenceOf(key) return tonumber(redis.call('GET', key) or '0') end
-- Takes a write out of the queue unless a newer one of its key has come, which goes to the end of it.
local function release(queue, waiting, writer, key, id)
  local field = writer .. ':' .. key
  local value = redis.call('HGET', waiting, field)
  if not value then
    redis.call('ZREM', queue, key)
    return false
  end
  local latest = string.sub(value, 1, 16)
  if latest ~= id then
    redis.call('ZADD', queue, 'XX', latest, key)
    return false
  end
  redis.call('HDEL', waiting, field)
  redis.call('ZREM', queue, key)
  return true
end
-- Readers need not ask any more for what is no longer written.
local function unmark(queue, marker, writer)
  if redis.call('ZCARD', queue) > 0 then return end
  local marked = redis.call('GET', marker)
  if not marked then return end
  local at, last = string.find(marked, ',' .. writer .. ',', 1, true)
  if not at then return end
  marked = string.sub(marked, 1, at) .. string.sub(marked, last + 1)
  if marked == ',' then redis.call('DEL', marker) else redis.call('SET', marker, marked) end
end
