-- Mail from strangers: bounce messages (RFC 3464) and complaint reports (RFC 5965), logged and dropped; the rest
-- is refused, because we keep no mailboxes.
local kumo = require 'kumo'
local control = require 'ig.control'
local settings = require 'ig.settings'
local store = require 'ig.store'
local traces = require 'ig.traces'

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
    local token, _, claimed = traces.of_return_path(recipient.user)
    if claimed and not token then
      return 550, '5.1.1 no mail was ever sent from this address'
    end
    return
  end
  local sender = conn_meta:get_meta 'x_sender'
  if sender ~= '' and sender ~= '<>' then
    return 550, '5.7.1 this host takes delivery reports only'
  end
end

-- Whose an inbox is, also when it was deleted since; it never changes. While the control plane is away this raises,
-- which becomes a 451: the other host keeps its report until it can be recorded whole.
local owner = kumo.memoize(function(inbox)
  return control.get('/internal/mta/v1/owners/' .. control.segment(inbox)) or {}
end, { name = 'user.ig_owner', ttl = '1 day', capacity = 50000 })

-- The domains that proved to have sent a report: by a valid DKIM signature (RFC 6376), or as envelope sender by SPF
-- (RFC 7208). Which of them is believed is for the control plane to say. A DNS that gives no answer is an error, which
-- becomes a 451: the report comes again.
local function origins(msg)
  local found, unsure = {}, false
  for _, result in ipairs(msg:dkim_verify()) do
    if result.result == 'pass' then
      found[#found + 1] = result.props['header.d']:lower()
    end
    unsure = unsure or result.result == 'temperror'
  end
  -- The null sender names no domain of its own.
  local domain = tostring(msg:sender()):match '@([%w.-]+)>?$'
  if domain then
    local disposition = kumo.spf.check_msg(msg).disposition
    if disposition == 'pass' then
      found[#found + 1] = domain:lower()
    end
    unsure = unsure or disposition == 'temperror'
  end
  assert(#found > 0 or not unsure, 'the origin of a report cannot be looked up')
  return table.concat(found, ' ')
end

-- Once per recipient: ties the report to the message it is about. kumod writes its record right after this, with the
-- metadata set here; `tenant` itself is not set, because it would count the report as mail of that tenant.
function M.received(msg)
  local token, inbox = traces.of_return_path(msg:recipient().user)
  if not token then
    token, inbox = traces.in_report(msg:get_data())
  end
  if not token then
    return
  end
  local tenant = owner(inbox).tenant
  if tenant then
    msg:set_meta('x_trace', token)
    msg:set_meta('x_inbox', inbox)
    msg:set_meta('x_tenant', tenant)
    local kind = msg:get_first_named_header_value 'Content-Type' or ''
    if kind:lower():find('feedback-report', 1, true) then
      msg:set_meta('x_reporter', origins(msg))
    end
  end
end

return M
