-- Mail from strangers: bounce messages (RFC 3464) and complaint reports (RFC 5965), logged and dropped; the rest
-- is refused, because we keep no mailboxes.
local kumo = require 'kumo'
local settings = require 'ig.settings'
local store = require 'ig.store'

local M = {}

local function own_domain(domain)
  return domain == settings.mail_zone
    or domain == 'bounce.' .. settings.mail_zone
    or domain == 'fbl.' .. settings.mail_zone
end

-- A sending domain of one of our tenants takes bounces of the mail it sent, not letters.
local hosted = kumo.memoize(function(domain)
  local reached, entry = pcall(store.hash, 'ig:domain:' .. domain)
  return { reached = reached, yes = reached and entry.tenant ~= nil }
end, { name = 'user.ig_hosted', ttl = '10s', capacity = 50000 })

function M.listener_domain(domain)
  domain = domain:lower()
  local ours = own_domain(domain)
  if not ours and domain ~= '' then
    local known = hosted(domain)
    -- An error here is a 421: the other host keeps its report. "Not ours" would be a 550, and the report lost.
    assert(known.reached, 'the directory cannot be reached')
    ours = known.yes
  end
  if ours then
    -- LogThenDrop, not true: true would relay the report onwards and make loops.
    return kumo.make_listener_domain {
      relay_to = false,
      log_oob = 'LogThenDrop',
      log_arf = 'LogThenDrop',
    }
  end
end

function M.mail_from(sender, conn_meta)
  conn_meta:set_meta('x_sender', tostring(sender))
end

function M.rcpt_to(recipient, conn_meta)
  if own_domain(recipient.domain:lower()) then
    return
  end
  local sender = conn_meta:get_meta 'x_sender'
  if sender ~= '' and sender ~= '<>' then
    return 550, '5.7.1 this host takes delivery reports only'
  end
end

return M
