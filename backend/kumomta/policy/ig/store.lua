-- Redis: the directory of inboxes, the kill set, quota counters and suppressions.
local redis = require 'redis'
local settings = require 'ig.settings'

local M = {}

-- kumod waits 30 s for Redis unless told otherwise, far beyond the patience of an SMTP client.
function M.query(...)
  local connection = redis.open {
    node = settings.redis_url,
    pool_size = 32,
    connect_timeout = '500ms',
    wait_timeout = '500ms',
    response_timeout = '500ms',
  }
  return connection:query(...)
end

-- The hash at `key` as a table, empty when there is none. HGETALL, not HMGET: kumod drops nil values from an
-- array, so the answer to HMGET shifts when a field is missing. Pairs come flat (RESP2) or as a map (RESP3).
function M.hash(key)
  local answer = M.query('HGETALL', key) or {}
  if answer[1] == nil then
    return answer
  end
  local fields = {}
  for i = 1, #answer, 2 do
    fields[answer[i]] = answer[i + 1]
  end
  return fields
end

-- For each member whether it is in the set at `key`.
function M.members(key, ...)
  local found = {}
  for i, present in ipairs(M.query('SMISMEMBER', key, ...)) do
    found[i] = present == 1
  end
  return table.unpack(found)
end

return M
