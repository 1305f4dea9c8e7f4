-- DKIM: keys from the control plane, signatures by kumod.
local kumo = require 'kumo'
local control = require 'ig.control'
local store = require 'ig.store'

local M = {}

-- Signed once more than they occur (RFC 6376 section 8.15): nobody can add a second From, Subject or Reply-To to a
-- signed message without breaking the signature.
-- The last two are ours: Gmail believes a Feedback-ID that is signed, and a trace must not be moved to another mail.
local SIGNED_HEADERS = {
  'From',
  'To',
  'Cc',
  'Subject',
  'Date',
  'Reply-To',
  'Message-ID',
  'Feedback-ID',
  'X-InboxGrove-Trace',
}

local function fetch(domain)
  local key = control.get('/internal/mta/v1/domains/' .. control.segment(domain) .. '/dkim')
  if not (key and key.private_key and key.selector) then
    error('no signing key for ' .. domain)
  end
  return { selector = key.selector, private_key = key.private_key }
end

-- A key never changes under its selector (rotation means a new selector), so it may be kept for a day and mail is
-- still signed while the control plane is away. A loader's error is what kumod forgets after 60 s.
local kept = kumo.memoize(function(domain, selector)
  local key = fetch(domain)
  if key.selector ~= selector then
    error('the current selector of ' .. domain .. ' is ' .. key.selector)
  end
  return key
end, { name = 'user.ig_dkim', ttl = '1 day', capacity = 50000 })

-- For the time in which the directory and the control plane disagree, or after an error.
local recent = kumo.memoize(function(domain, _slot)
  local ok, key = pcall(fetch, domain)
  return ok and key or { why = tostring(key) }
end, { name = 'user.ig_dkim_recent', ttl = '20s', capacity = 50000 })

-- Whether the domain may send, from the directory; nothing known counts as active, the key decides then.
local status = kumo.memoize(function(domain)
  local ok, entry = pcall(store.hash, 'ig:domain:' .. domain)
  return ok and { status = entry.status, selector = entry.selector } or {}
end, { name = 'user.ig_domain', ttl = '5s', capacity = 50000, invalidate_with_epoch = true })

-- nil when the domain may send, else the code and text of the refusal.
function M.refuse_domain(domain)
  local state = status(domain).status
  if state and state ~= 'active' then
    return 550, string.format('5.7.1 sending for %s is suspended', domain)
  end
end

-- The key to sign with; raises when there is none, which makes the client try again.
function M.key(domain)
  local selector = status(domain).selector
  if selector then
    local ok, key = pcall(kept, domain, selector)
    if ok then
      return key
    end
  end
  local key = recent(domain, os.time() // 10)
  if key.why then
    error(key.why)
  end
  return key
end

-- The last thing that happens to a message.
function M.sign(msg, domain)
  local key = M.key(domain)
  msg:dkim_sign(kumo.dkim.rsa_sha256_signer {
    domain = domain,
    selector = key.selector,
    key = { key_data = key.private_key },
    headers = SIGNED_HEADERS,
    over_sign = true,
    header_canonicalization = 'Relaxed',
    body_canonicalization = 'Relaxed',
  })
end

return M
