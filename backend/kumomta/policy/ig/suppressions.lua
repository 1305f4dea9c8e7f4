-- Addresses and whole domains (written `@example.com`) that a tenant must not write to.
local store = require 'ig.store'

local M = {}

function M.refuse(recipient, tenant)
  local address = tostring(recipient):lower()
  local domain = '@' .. recipient.domain:lower()
  local exactly, wholly = store.members('ig:suppressed:' .. tenant, address, domain)
  if exactly or wholly then
    return 550, '5.7.1 recipient is on your suppression list'
  end
end

return M
