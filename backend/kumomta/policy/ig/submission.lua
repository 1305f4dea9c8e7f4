-- One mail of a logged-in inbox, from MAIL FROM to the signature.
--
-- Each step returns nothing to go on, or a code and a text to refuse (see ig/guard.lua). AUTH is checked once per
-- session only, so status, kill set and limits are looked at again in every transaction.
local dkim = require 'ig.dkim'
local drain = require 'ig.drain'
local identity = require 'ig.identity'
local inboxes = require 'ig.inboxes'
local kills = require 'ig.kills'
local quota = require 'ig.quota'
local suppressions = require 'ig.suppressions'
local traces = require 'ig.traces'

local M = {}

local STOPPED = '5.7.1 sending is suspended for this account'

local function may_send(entry)
  return entry.status == 'active' and not kills.covers(entry.tenant, entry.inbox)
end

-- The directory's entry of the inbox behind this session, or nil and a refusal.
local function live_inbox(conn_meta)
  local entry = inboxes.find(conn_meta:get_meta('authn_id'):lower())
  if entry.state == 'unavailable' then
    error 'the directory cannot be reached'
  end
  local same = entry.state == 'found' and entry.inbox == conn_meta:get_meta 'x_inbox'
  if not same or not may_send(entry) then
    return nil, 550, STOPPED
  end
  return entry
end

function M.mail_from(sender, conn_meta)
  if drain.is_on() then
    return 421, drain.TEXT
  end
  local entry, code, text = live_inbox(conn_meta)
  if not entry then
    return code, text
  end
  code, text = identity.refuse_envelope(sender, entry.email:lower())
  if code then
    return code, text
  end
  code, text = dkim.refuse_domain(entry.domain)
  if code then
    return code, text
  end
  return quota.peek(entry)
end

function M.rcpt_to(recipient, conn_meta)
  return suppressions.refuse(recipient, conn_meta:get_meta 'tenant')
end

-- What a message must be, and how it is mended, before it may count.
local function prepare(msg, entry)
  local code, text = identity.refuse_headers(msg, entry.email:lower())
  if code then
    return code, text
  end
  -- A submission server takes out what the recipients must not see and adds what every message needs
  -- (RFC 6409 section 8, RFC 5322 section 3.6.3).
  msg:remove_all_named_headers 'Bcc'
  msg:remove_all_named_headers 'Return-Path'
  msg:check_fix_conformance('', 'MISSING_DATE_HEADER|MISSING_MESSAGE_ID_HEADER')
  -- A missing key must show here, before the quota is taken.
  dkim.key(entry.domain)
end

-- The last changes of a message: its trace, then the signature over all of it. When they fail the whole transaction
-- is refused, so nothing of it may count.
local function finish(msg, entry, taken)
  local done, why = pcall(function()
    traces.mark(msg, entry)
    dkim.sign(msg, entry.domain)
  end)
  if not done then
    pcall(quota.release, taken)
    error(why)
  end
end

-- The whole transaction, before it is split by recipient. The quota comes last: nothing after it says no.
function M.data(msg, conn_meta)
  local entry, code, text = live_inbox(conn_meta)
  if not entry then
    return code, text
  end
  code, text = prepare(msg, entry)
  if code then
    return code, text
  end
  local taken
  code, text, taken = quota.reserve(entry, msg:recipient_list(), os.time())
  if code then
    return code, text
  end
  conn_meta:set_meta('x_reserved', taken)
end

-- Once per recipient.
function M.received(msg, conn_meta)
  finish(msg, {
    inbox = conn_meta:get_meta 'x_inbox',
    tenant = conn_meta:get_meta 'tenant',
    domain = conn_meta:get_meta 'x_domain',
  }, conn_meta:get_meta 'x_reserved')
end

-- One message over HTTP, for one recipient. Whose it is follows from its envelope sender alone; nothing that the
-- request says about itself is believed. kumod remembers a credential for 60 s, so all else is looked at here.
function M.injected(msg)
  local entry = inboxes.find(msg:sender().email:lower())
  if entry.state == 'unavailable' then
    error 'the directory cannot be reached'
  end
  if entry.state ~= 'found' or not may_send(entry) then
    return 550, STOPPED
  end
  local code, text = dkim.refuse_domain(entry.domain)
  if not code then
    code, text = suppressions.refuse(msg:recipient(), entry.tenant)
  end
  if not code then
    code, text = prepare(msg, entry)
  end
  if code then
    return code, text
  end
  local taken
  code, text, taken = quota.reserve(entry, msg:recipient_list(), os.time())
  if code then
    return code, text
  end
  msg:set_meta('tenant', entry.tenant)
  msg:set_meta('campaign', entry.inbox)
  msg:set_meta('x_inbox', entry.inbox)
  msg:set_meta('x_domain', entry.domain)
  finish(msg, entry, taken)
end

return M
