-- One mail of a logged-in inbox, from MAIL FROM to the signature.
--
-- Each step returns nothing to go on, or a code and a text to refuse (see ig/guard.lua). AUTH is checked once per
-- session only, so status, kill set and limits are looked at again in every transaction.
local dkim = require 'ig.dkim'
local identity = require 'ig.identity'
local inboxes = require 'ig.inboxes'
local kills = require 'ig.kills'
local quota = require 'ig.quota'
local suppressions = require 'ig.suppressions'

local M = {}

local STOPPED = '5.7.1 sending is suspended for this account'

-- The directory's entry of the inbox behind this session, or nil and a refusal.
local function live_inbox(conn_meta)
  local entry = inboxes.find(conn_meta:get_meta('authn_id'):lower())
  if entry.state == 'unavailable' then
    error 'the directory cannot be reached'
  end
  local same = entry.state == 'found' and entry.inbox == conn_meta:get_meta 'x_inbox'
  if not same or entry.status ~= 'active' or kills.covers(entry.tenant, entry.inbox) then
    return nil, 550, STOPPED
  end
  return entry
end

function M.mail_from(sender, conn_meta)
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

-- The whole transaction, before it is split by recipient. The quota comes last: nothing after it says no.
function M.data(msg, conn_meta)
  local entry, code, text = live_inbox(conn_meta)
  if not entry then
    return code, text
  end
  code, text = identity.refuse_headers(msg, entry.email:lower())
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

  local count, at = #msg:recipient_list(), os.time()
  code, text = quota.reserve(entry, count, at)
  if code then
    return code, text
  end
  conn_meta:set_meta('x_reserved', count)
  conn_meta:set_meta('x_reserved_at', at)
end

-- Once per recipient.
function M.received(msg, conn_meta)
  local signed, why = pcall(dkim.sign, msg, conn_meta:get_meta 'x_domain')
  if not signed then
    -- The whole transaction is refused now, so nothing of it may count.
    pcall(quota.release, conn_meta:get_meta 'x_inbox', conn_meta:get_meta 'x_reserved', conn_meta:get_meta 'x_reserved_at')
    error(why)
  end
end

return M
