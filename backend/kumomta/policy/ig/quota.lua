-- Sending limits of an inbox, counted in recipients at the moment of acceptance: per calendar hour, day and month
-- (UTC), and per day for each domain it writes to.
--
-- kumod's own throttles are leaky buckets: "50 per day" lets nearly 100 through in one calendar day. So the count is
-- ours, kept in Redis, and all limits are taken in one script: all or nothing, also with fifty sessions at once on
-- many nodes. A counter's name holds its period, so nodes whose clocks differ never share a limit wrongly.
local store = require 'ig.store'

local M = {}

-- The mark of a Redis that holds everything (see ig/kills.lua). Counters that were wiped would let a second quota
-- through, so nothing is taken until they are restored.
local WHOLE = [[
if redis.call('SISMEMBER', KEYS[#KEYS], '!') == 0 then return 'lost' end
]]
local MARKED = 'ig:killed'

local HOUR_TTL = 2 * 3600
local DAY_TTL = 2 * 86400
local MONTH_TTL = 40 * 86400

-- KEYS: day, month, hour, domains, mark. ARGV: recipients, the four limits, the three TTLs, then each domain and its
-- count. Answers `ok`, or the name of the limit, for a domain the domain itself; of several the one that lasts.
local RESERVE = WHOLE .. [[
local names = { 'day', 'month', 'hour' }
for i, name in ipairs(names) do
  if tonumber(redis.call('GET', KEYS[i]) or '0') + tonumber(ARGV[1]) > tonumber(ARGV[1 + i]) then return name end
end
for i = 9, #ARGV, 2 do
  if tonumber(redis.call('HGET', KEYS[4], ARGV[i]) or '0') + tonumber(ARGV[i + 1]) > tonumber(ARGV[5]) then
    return ARGV[i]
  end
end
for i = 1, 3 do
  redis.call('INCRBY', KEYS[i], ARGV[1])
  if redis.call('TTL', KEYS[i]) < 0 then redis.call('EXPIRE', KEYS[i], ARGV[5 + i]) end
end
for i = 9, #ARGV, 2 do redis.call('HINCRBY', KEYS[4], ARGV[i], ARGV[i + 1]) end
if redis.call('TTL', KEYS[4]) < 0 then redis.call('EXPIRE', KEYS[4], ARGV[6]) end
return 'ok'
]]

-- KEYS: day, month, hour, mark. ARGV: the limits of the first three.
local PEEK = WHOLE .. [[
for i, name in ipairs { 'day', 'month', 'hour' } do
  if tonumber(redis.call('GET', KEYS[i]) or '0') >= tonumber(ARGV[i]) then return name end
end
return 'ok'
]]

-- KEYS as RESERVE without the mark; ARGV: recipients, then each domain and its count. What ran out meanwhile is not
-- begun anew.
local RELEASE = [[
for i = 1, 3 do
  if redis.call('EXISTS', KEYS[i]) == 1 then redis.call('DECRBY', KEYS[i], ARGV[1]) end
end
if redis.call('EXISTS', KEYS[4]) == 1 then
  for i = 2, #ARGV, 2 do redis.call('HINCRBY', KEYS[4], ARGV[i], -tonumber(ARGV[i + 1])) end
end
return 1
]]

local function keys(inbox, at)
  local prefix = 'ig:q:' .. inbox
  local day = os.date('!%Y%m%d', at)
  return prefix .. ':d:' .. day,
    prefix .. ':m:' .. os.date('!%Y%m', at),
    prefix .. ':h:' .. os.date('!%Y%m%d%H', at),
    prefix .. ':r:' .. day
end

-- The limits of an entry. One written before there were hourly limits has none of its own: the day's holds. An entry
-- without daily limits is damaged; the error makes the client try again, nothing is sent unlimited.
local function limits(entry)
  assert(entry.day_limit and entry.month_limit, 'inbox ' .. entry.inbox .. ' has no limits')
  return entry.day_limit, entry.month_limit, entry.hour_limit or entry.day_limit, entry.domain_limit or entry.day_limit
end

-- A code and text for a limit; `lost` raises, which asks the client to come back.
-- An hour passes while the client tries again; a day does not, so that one hears it for good.
local function refusal(which, entry)
  local day, month, hour, domain = limits(entry)
  assert(which ~= 'lost', 'the counters are being restored')
  if which == 'hour' then
    return 450, string.format('4.7.1 hourly sending limit reached (%d an hour), try again in the next hour', hour)
  elseif which == 'day' then
    return 550, string.format('5.4.5 daily sending limit exceeded (%d a day, resets 00:00 UTC)', day)
  elseif which == 'month' then
    return 550, string.format('5.4.5 monthly sending limit exceeded (%d a month, UTC)', month)
  end
  return 550, string.format('5.4.5 daily limit for %s exceeded (%d a day, resets 00:00 UTC)', which, domain)
end

-- A cheap look at MAIL FROM, so that a client at its limit stops before it uploads anything.
function M.peek(entry)
  local day_limit, month_limit, hour_limit = limits(entry)
  local day, month, hour = keys(entry.inbox, os.time())
  local outcome = store.query('EVAL', PEEK, 4, day, month, hour, MARKED, day_limit, month_limit, hour_limit)
  if outcome ~= 'ok' then
    return refusal(outcome, entry)
  end
end

-- Takes all `recipients` from all limits, or refuses with the code and text that name the limit. What was taken is
-- the third result, for `release`.
function M.reserve(entry, recipients, at)
  local day_limit, month_limit, hour_limit, domain_limit = limits(entry)
  local day, month, hour, domains = keys(entry.inbox, at)
  local counts, list = {}, {}
  for _, recipient in ipairs(recipients) do
    local domain = recipient.domain:lower()
    counts[domain] = (counts[domain] or 0) + 1
  end
  for domain, count in pairs(counts) do
    list[#list + 1] = domain
    list[#list + 1] = count
  end
  -- stylua: ignore
  local outcome = store.query(
    'EVAL', RESERVE, 5, day, month, hour, domains, MARKED,
    #recipients, day_limit, month_limit, hour_limit, domain_limit,
    DAY_TTL, MONTH_TTL, HOUR_TTL, table.unpack(list)
  )
  if outcome ~= 'ok' then
    return refusal(outcome, entry)
  end
  return nil, nil, { inbox = entry.inbox, at = at, count = #recipients, domains = list }
end

-- Gives back what a transaction took that we then could not accept.
function M.release(taken)
  local day, month, hour, domains = keys(taken.inbox, taken.at)
  local list = {}
  for _, item in ipairs(taken.domains) do
    list[#list + 1] = item
  end
  store.query('EVAL', RELEASE, 4, day, month, hour, domains, taken.count, table.unpack(list))
end

return M
