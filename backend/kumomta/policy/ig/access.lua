-- Who may use the node's HTTP API: the control plane, by bearer token.
local kumo = require 'kumo'
local settings = require 'ig.settings'

local M = {}

local GROUP = 'ig:admin'
local LOCAL = 'kumomta:http-listener-trusted-ip'

function M.check_token(token)
  -- Digests are compared so that the time taken says nothing about the token; no token set means no access.
  local expected = kumo.digest.sha256(settings.admin_token).hex
  if settings.admin_token == '' or kumo.digest.sha256(token).hex ~= expected then
    return false
  end
  if kumo.aaa then
    return {
      identities = { { identity = 'control-plane', context = 'BearerToken' } },
      groups = { GROUP },
    }
  end
  -- Before 2026.03 there are no access lists: a valid token is enough.
  return true
end

local function rules(group, ...)
  local list = {}
  for _, privilege in ipairs { ... } do
    list[#list + 1] = { criteria = { Identity = { Group = group } }, privilege = privilege, access = 'Allow' }
  end
  return list
end

-- kumod's defaults let everyone on a trusted address administer, and every login inject. Here both take the token;
-- only metrics stay open to the node's own address. Events and health keep the defaults.
function M.definition(resource)
  if resource == 'http_listener/*/api/admin' then
    return kumo.aaa.make_access_control_list(rules(GROUP, 'GET', 'POST', 'DELETE'))
  end
  if resource == 'http_listener/*/api/inject' or resource == 'http_listener/*/api/xfer' then
    return kumo.aaa.make_access_control_list(rules(GROUP, 'POST'))
  end
  if resource == 'http_listener/*/api/machine-info' then
    return kumo.aaa.make_access_control_list(rules(GROUP, 'GET'))
  end
  if resource == 'http_listener/*/metrics' or resource == 'http_listener/*/metrics.json' then
    local list = rules(GROUP, 'GET')
    list[2] = rules(LOCAL, 'GET')[1]
    return kumo.aaa.make_access_control_list(list)
  end
end

return M
