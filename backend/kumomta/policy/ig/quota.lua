-- Sending limits per calendar day and month (UTC), counted in recipients at the moment of acceptance.
--
-- kumod's own throttles are leaky buckets: "50 per day" lets nearly 100 through in one calendar day. So the count is
-- ours, kept in Redis, and taken in one script: all or nothing, also with fifty sessions at once on many nodes.
local store = require 'ig.store'

local M = {}

local DAY_TTL = 2 * 86400
local MONTH_TTL = 40 * 86400

-- KEYS: day, month. ARGV: recipients, day limit, month limit, day TTL, month TTL.
local RESERVE = [[
local n = tonumber(ARGV[1])
local day = tonumber(redis.call('GET', KEYS[1]) or '0')
if day + n > tonumber(ARGV[2]) then return 'day' end
local month = tonumber(redis.call('GET', KEYS[2]) or '0')
if month + n > tonumber(ARGV[3]) then return 'month' end
redis.call('INCRBY', KEYS[1], n)
redis.call('INCRBY', KEYS[2], n)
if redis.call('TTL', KEYS[1]) < 0 then redis.call('EXPIRE', KEYS[1], ARGV[4]) end
if redis.call('TTL', KEYS[2]) < 0 then redis.call('EXPIRE', KEYS[2], ARGV[5]) end
return 'ok'
]]

-- KEYS: day, month. ARGV: day limit, month limit.
local PEEK = [[
if tonumber(redis.call('GET', KEYS[1]) or '0') >= tonumber(ARGV[1]) then return 'day' end
if tonumber(redis.call('GET', KEYS[2]) or '0') >= tonumber(ARGV[2]) then return 'month' end
return 'ok'
]]

local RELEASE = [[
for _, key in ipairs(KEYS) do
  if redis.call('EXISTS', key) == 1 then redis.call('DECRBY', key, ARGV[1]) end
end
return 1
]]

local function keys(inbox, at)
  return 'ig:q:' .. inbox .. ':d:' .. os.date('!%Y%m%d', at), 'ig:q:' .. inbox .. ':m:' .. os.date('!%Y%m', at)
end

local function refusal(which, entry)
  if which == 'day' then
    return 550, string.format('5.4.5 daily sending limit exceeded (%d a day, resets 00:00 UTC)', entry.day_limit)
  end
  return 550, string.format('5.4.5 monthly sending limit exceeded (%d a month, UTC)', entry.month_limit)
end

-- An entry without limits is damaged; the error makes the client try again, nothing is sent unlimited.
local function check_limits(entry)
  assert(entry.day_limit and entry.month_limit, 'inbox ' .. entry.inbox .. ' has no limits')
end

-- A cheap look at MAIL FROM, so that a client at its limit stops before it uploads anything.
function M.peek(entry)
  check_limits(entry)
  local day, month = keys(entry.inbox, os.time())
  local outcome = store.query('EVAL', PEEK, 2, day, month, entry.day_limit, entry.month_limit)
  if outcome ~= 'ok' then
    return refusal(outcome, entry)
  end
end

-- Takes `count` recipients from both limits, or refuses with the code and text that name the limit.
function M.reserve(entry, count, at)
  check_limits(entry)
  local day, month = keys(entry.inbox, at)
  local outcome = store.query('EVAL', RESERVE, 2, day, month, count, entry.day_limit, entry.month_limit, DAY_TTL, MONTH_TTL)
  if outcome ~= 'ok' then
    return refusal(outcome, entry)
  end
end

-- Gives back what a transaction took that we then could not accept.
function M.release(inbox, count, at)
  local day, month = keys(inbox, at)
  store.query('EVAL', RELEASE, 2, day, month, count)
end

return M
