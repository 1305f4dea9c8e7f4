-- A node that is being drained lets nobody log in and sends what it still has.
local kumo = require 'kumo'
local settings = require 'ig.settings'
local store = require 'ig.store'

local M = {}

local KEY = 'ig:draining'

-- It never raises, because kumod would serve an error for 60 s. Without Redis nothing is accepted anyway.
local asked = kumo.memoize(function()
  local reached, member = pcall(store.members, KEY, settings.node_id)
  return reached and member or false
end, { name = 'user.ig_drain', ttl = '2s', capacity = 4 })

-- What a client is told: the name it connected to has other hosts (RFC 5321 section 3.8 on 421).
M.TEXT = '4.3.2 this host is going out of service, please connect again'

-- Whether this node takes new mail no more; seconds old at most.
function M.is_on()
  return settings.node_id ~= '' and asked()
end

return M
