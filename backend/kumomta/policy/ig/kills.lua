-- The kill switch: the set of stopped tenants and inboxes.
local kumo = require 'kumo'
local control = require 'ig.control'
local store = require 'ig.store'

local M = {}

local KEY = 'ig:killed'
-- A suspension lives in the memory of this node and ends after five minutes unless told otherwise; the control
-- plane renews it long before this.
local DURATION = '30 days'

-- Straight from Redis at every call, never remembered: a kill stops the next command of an open session.
function M.covers(tenant, inbox)
  return store.any_member(KEY, 't:' .. tenant, 'i:' .. inbox)
end

local function suspend(criteria)
  criteria.reason = 'ig:kill:' .. (criteria.campaign or criteria.tenant)
  criteria.duration = DURATION
  local ok, err = pcall(kumo.api.admin.suspend.suspend, criteria)
  if not ok then
    kumo.log_error('kills: could not suspend: ' .. tostring(err))
  end
end

local function from_control()
  return control.get '/internal/mta/v1/kills'
end

local function from_store()
  local list = { tenants = {}, inboxes = {} }
  for _, member in ipairs(store.query('SMEMBERS', KEY) or {}) do
    local kind, id = member:match '^([ti]):(.+)$'
    table.insert(kind == 't' and list.tenants or list.inboxes, id)
  end
  return list
end

-- Puts back the suspensions that a restart forgot.
function M.restore()
  local ok, list = pcall(from_control)
  if not (ok and list) then
    kumo.log_warn('kills: control plane did not answer, asking Redis: ' .. tostring(list))
    ok, list = pcall(from_store)
  end
  if not ok then
    -- Nobody is known to be innocent. Hold all queued mail for the time the reconciler of the control plane needs
    -- to notice our restart and to push the real list.
    kumo.log_error('kills: no list to be had, holding all mail: ' .. tostring(list))
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
