-- The directory of inboxes: who a user name is and what it may do.
--
-- Four layers: what was remembered, Redis, the control plane when Redis does not know the name or is away, and the
-- copy on the node's disk when the control plane is away too. Answers are remembered by user name only; a password
-- never becomes part of a cache key, which kumod keeps in clear text.
local kumo = require 'kumo'
local control = require 'ig.control'
local settings = require 'ig.settings'
local snapshot = require 'ig.snapshot'
local store = require 'ig.store'

local M = {}

-- The copy may be older than the inbox, so a name that it lacks is not unknown for sure: that is an error too.
local function from_disk(username)
  return assert(snapshot.find(username), 'not in the snapshot')
end

-- One table per name: state is `found`, `unknown` or `unavailable`. It never raises, because kumod would serve a
-- loader's error for 60 s.
local function load(username)
  local reached, entry = pcall(store.hash, 'ig:inbox:' .. username)
  if not (reached and entry.inbox) then
    reached, entry = pcall(control.get, '/internal/mta/v1/inboxes/' .. control.segment(username))
  end
  if not reached then
    local why = entry
    reached, entry = pcall(from_disk, username)
    entry = reached and entry or tostring(why) .. '; ' .. tostring(entry)
  end
  local answer = { state = 'unavailable', at = os.time() }
  if not reached then
    kumo.log_error('directory: ' .. tostring(entry))
  elseif entry and entry.inbox then
    answer.state = 'found'
    for _, name in ipairs { 'inbox', 'tenant', 'domain', 'email', 'h', 'status' } do
      answer[name] = entry[name]
    end
    answer.day_limit = tonumber(entry.day_limit)
    answer.month_limit = tonumber(entry.month_limit)
    answer.hour_limit = tonumber(entry.hour_limit)
    answer.domain_limit = tonumber(entry.domain_limit)
  else
    answer.state = 'unknown'
  end
  return answer
end

local remembered = kumo.memoize(load, {
  name = 'user.ig_inbox',
  ttl = '5s',
  capacity = 250000,
  invalidate_with_epoch = true,
})

-- The second of the look-up is part of the key: at most one fresh look-up per name and second.
local fresh = kumo.memoize(function(username, _second)
  return load(username)
end, {
  name = 'user.ig_inbox_fresh',
  ttl = '2s',
  capacity = 50000,
  invalidate_with_epoch = true,
})

-- What is known about a name: positive answers may be 5 s old, all others 1 s.
function M.find(username)
  local entry = remembered(username)
  if entry.state ~= 'found' and entry.at < os.time() then
    return fresh(username, os.time())
  end
  return entry
end

-- What is known now, for an answer that would refuse: a new password or a resumed inbox works at once.
function M.find_again(username)
  return fresh(username, os.time())
end

-- Digests are compared, not secrets, so the time this takes tells nothing.
function M.password_matches(entry, password)
  local digest = kumo.digest.hmac_sha256({ key_data = settings.auth_pepper }, password).hex
  return entry.state == 'found' and digest == entry.h
end

return M
