-- Trace tokens: which inbox a message came from, for whoever sends it back to us. The control plane's twin of this
-- file is app/rules/traces.py.
--
-- A token is opaque to everyone, and only a holder of the key can make one. So a bounce or a complaint that carries a
-- valid token is about mail that we sent; everything else may be made up.
local kumo = require 'kumo'
local settings = require 'ig.settings'

local M = {}

M.HEADER = 'X-InboxGrove-Trace'

local ALPHABET = 'abcdefghijklmnopqrstuvwxyz234567'
local PAYLOAD_CHARS, MAC_CHARS = 39, 16
-- Reports carry the original's header fields, but may also carry megabytes of its body.
local SEARCHED_OCTETS = 256 * 1024

-- Base32 (RFC 4648) in lower case without padding, of octets given in hex.
local function base32(hex)
  local out, bits, value = {}, 0, 0
  for digit in hex:gmatch '.' do
    value, bits = value << 4 | tonumber(digit, 16), bits + 4
    if bits >= 5 then
      bits = bits - 5
      local at = value >> bits
      out[#out + 1] = ALPHABET:sub(at + 1, at + 1)
      value = value & (1 << bits) - 1
    end
  end
  if bits > 0 then
    local at = value << 5 - bits
    out[#out + 1] = ALPHABET:sub(at + 1, at + 1)
  end
  return table.concat(out)
end

local function hex_of(text)
  local out, bits, value = {}, 0, 0
  for char in text:gmatch '.' do
    value, bits = value << 5 | ALPHABET:find(char, 1, true) - 1, bits + 5
    while bits >= 4 do
      bits = bits - 4
      out[#out + 1] = string.format('%x', value >> bits)
      value = value & (1 << bits) - 1
    end
  end
  return table.concat(out)
end

local function keyed(text)
  assert(settings.trace_key ~= '', 'IG_TRACE_KEY is not set')
  return kumo.digest.hmac_sha256({ key_data = settings.trace_key }, text).base32_nopad:sub(1, MAC_CHARS):lower()
end

-- The token of one message; the spool id tells messages of one inbox apart.
function M.make(inbox, spool_id)
  local payload = base32(inbox:gsub('-', '') .. kumo.digest.sha256(spool_id).hex:sub(1, 16))
  return payload .. '.' .. keyed(payload)
end

-- The token in its form with the dot and the inbox it names, or nil when it was not made with our key.
function M.read(text)
  local payload, mac = text:lower():match '^([a-z2-7]+)%.?([a-z2-7]+)$'
  if not payload then
    return nil
  end
  local joined = payload .. mac
  if #joined ~= PAYLOAD_CHARS + MAC_CHARS then
    return nil
  end
  payload, mac = joined:sub(1, PAYLOAD_CHARS), joined:sub(PAYLOAD_CHARS + 1)
  -- Lua interns strings this short and compares their addresses: no time tells how much of a guess was right.
  if keyed(payload) ~= mac then
    return nil
  end
  local hex = hex_of(payload)
  local inbox = { hex:sub(1, 8), hex:sub(9, 12), hex:sub(13, 16), hex:sub(17, 20), hex:sub(21, 32) }
  return payload .. '.' .. mac, table.concat(inbox, '-')
end

-- As `read`, for the local part of a return path; the third result says whether it looks like one of ours at all.
function M.of_return_path(user)
  local text = user:lower():match '^b%-(.*)$'
  if not text then
    return nil, nil, false
  end
  local token, inbox = M.read(text)
  return token, inbox, true
end

-- As `read`, for a report: the header of the original that it quotes, or the return path that it names.
function M.in_report(content)
  local text = '\n' .. content:sub(1, SEARCHED_OCTETS)
  local patterns = { '\nX%-InboxGrove%-Trace:%s*([%w.]+)', 'b%-(%w+)@bounce%.' }
  for _, pattern in ipairs(patterns) do
    for found in text:gmatch(pattern) do
      local token, inbox = M.read(found)
      if token then
        return token, inbox
      end
    end
  end
end

-- Makes a message traceable, in place of whatever its author wrote there; to be done before the signature.
function M.mark(msg, entry)
  local token = M.make(entry.inbox, msg:id())
  msg:remove_all_named_headers(M.HEADER)
  msg:remove_all_named_headers 'Feedback-ID'
  msg:append_header(M.HEADER, token)
  -- Gmail counts complaints by each of these fields, the last of which names the sending platform
  -- (support.google.com/a/answer/6254652).
  msg:append_header(
    'Feedback-ID',
    string.format('%s:%s:%s:inboxgrove', keyed(entry.inbox), keyed(entry.domain), keyed(entry.tenant))
  )
  msg:set_meta('x_trace', token)
  -- VERP: whoever bounces this message later writes to an address that names it.
  msg:set_sender(string.format('b-%s@bounce.%s', (token:gsub('%.', '')), settings.mail_zone))
end

return M
