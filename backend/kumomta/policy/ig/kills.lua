-- The kill switch: the set of stopped tenants and inboxes.
local kumo = require 'kumo'
local control = require 'ig.control'
local snapshot = require 'ig.snapshot'
local store = require 'ig.store'

local M = {}

local KEY = 'ig:killed'
-- This member says that the set, and all else in Redis, is whole. A Redis that was wiped lacks it until the control
-- plane has written everything anew; until then its silence about somebody means nothing.
local WHOLE = '!'
-- A suspension lives in the memory of this node and ends after five minutes unless told otherwise; the control
-- plane renews it long before this.
local DURATION = '30 days'

local function from_control()
  return assert(control.get '/internal/mta/v1/kills', 'no list of kills')
end

-- The list without Redis: from the control plane, else from the node's disk.
local function from_elsewhere()
  local ok, list = pcall(from_control)
  if not ok then
    kumo.log_warn('kills: control plane did not answer, using the snapshot: ' .. tostring(list))
    list = snapshot.kills()
  end
  return list
end

-- As a set of `t:` and `i:` members. It never raises, because kumod would serve an error for 60 s.
local elsewhere = kumo.memoize(function()
  local ok, list = pcall(from_elsewhere)
  local answer = { known = ok, why = not ok and tostring(list) or '' }
  if ok then
    for _, id in ipairs(list.tenants or {}) do
      answer['t:' .. id] = true
    end
    for _, id in ipairs(list.inboxes or {}) do
      answer['i:' .. id] = true
    end
  end
  return answer
end, { name = 'user.ig_kills', ttl = '2s', capacity = 4 })

-- Straight from Redis at every call, never remembered: a kill stops the next command of an open session. Only while
-- Redis cannot be trusted a list of at most two seconds' age stands in; with no list at all this raises.
function M.covers(tenant, inbox)
  local reached, tenant_killed, inbox_killed, whole = pcall(store.members, KEY, 't:' .. tenant, 'i:' .. inbox, WHOLE)
  if reached and (tenant_killed or inbox_killed) then
    return true
  end
  if reached and whole then
    return false
  end
  local list = elsewhere()
  assert(list.known, list.why)
  return list['t:' .. tenant] or list['i:' .. inbox] or false
end

local function suspend(criteria)
  criteria.reason = 'ig:kill:' .. (criteria.campaign or criteria.tenant)
  criteria.duration = DURATION
  local ok, err = pcall(kumo.api.admin.suspend.suspend, criteria)
  if not ok then
    kumo.log_error('kills: could not suspend: ' .. tostring(err))
  end
end

local function from_store()
  local list, whole = { tenants = {}, inboxes = {} }, false
  for _, member in ipairs(store.query('SMEMBERS', KEY) or {}) do
    local kind, id = member:match '^([ti]):(.+)$'
    if kind then
      table.insert(kind == 't' and list.tenants or list.inboxes, id)
    end
    whole = whole or member == WHOLE
  end
  assert(whole, 'Redis was wiped')
  return list
end

-- Puts back the suspensions that a restart forgot.
function M.restore()
  local list
  for _, source in ipairs { from_control, from_store, snapshot.kills } do
    local ok, found = pcall(source)
    if ok then
      list = found
      break
    end
    kumo.log_warn('kills: ' .. tostring(found))
  end
  if not list then
    -- Nobody is known to be innocent. Hold all queued mail for the time the reconciler of the control plane needs
    -- to notice our restart and to push the real list.
    kumo.log_error 'kills: no list to be had, holding all mail'
    kumo.api.admin.suspend.suspend { reason = 'ig:kills-unknown', duration = '2 minutes' }
    return
  end
  for _, tenant in ipairs(list.tenants or {}) do
    suspend { tenant = tenant }
  end
  for _, inbox in ipairs(list.inboxes or {}) do
    suspend { campaign = inbox }
  end
end

return M
