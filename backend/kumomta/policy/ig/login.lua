-- SMTP AUTH PLAIN.
local kumo = require 'kumo'
local drain = require 'ig.drain'
local inboxes = require 'ig.inboxes'
local kills = require 'ig.kills'
local store = require 'ig.store'

local M = {}

local WINDOW_SECONDS = 900
-- One office behind one address may run many clients; a guesser runs into this soon enough, since the passwords
-- are random and long. A name is never locked: anyone could lock a customer out by guessing wrong on purpose.
local FAILURES_PER_ADDRESS = 100
-- Beyond this many failures a name earns no fresh look-up any more, only the remembered one.
local FAILURES_PER_NAME = 20

local COUNT = [[
for _, key in ipairs(KEYS) do
  if redis.call('INCR', key) == 1 then
    redis.call('EXPIRE', key, ARGV[1])
  end
end
return 1
]]

-- "203.0.113.9:4711" and "[2001:db8::1]:4711" without the port.
local function peer_address(conn_meta)
  local peer = conn_meta:get_meta 'received_from' or 'unknown'
  return (peer:gsub(':%d+$', ''):gsub('[%[%]]', ''))
end

-- While Redis is away guessers are still counted, on this node alone. A throttle is not a count, so it is asked only
-- when a login has failed.
local LOCAL_LIMIT = string.format('local:%d/15min', FAILURES_PER_ADDRESS)

-- Failures of the address and of the name in the last minutes, 0 and 0 while Redis is away.
local function failures(by_address, by_name)
  local reached, counts = pcall(function()
    return { store.query('GET', by_address), store.query('GET', by_name) }
  end)
  if not reached then
    return 0, 0
  end
  return tonumber(counts[1]) or 0, tonumber(counts[2]) or 0
end

-- Counts one more; true when the address has had enough.
local function count_failure(by_address, by_name)
  if pcall(store.query, 'EVAL', COUNT, 2, by_address, by_name, WINDOW_SECONDS) then
    return false
  end
  return kumo.make_throttle(by_address, LOCAL_LIMIT):throttle().throttled
end

-- A name we would ever hand out: printable, with one @, no longer than RFC 5321 section 4.5.3.1 allows.
local function plausible(username)
  return #username <= 254 and username:match '^[%w%.%-_+]+@[%w%.%-]+$' ~= nil
end

local function permitted(entry, password)
  return inboxes.password_matches(entry, password) and entry.status == 'active'
end

-- The entry of a permitted login, or nil and `unavailable` or `refused`.
local function verify(username, password, names_failures)
  if not plausible(username) then
    return nil, 'refused'
  end
  local entry = inboxes.find(username)
  if not permitted(entry, password) and names_failures < FAILURES_PER_NAME then
    entry = inboxes.find_again(username)
  end
  if entry.state == 'unavailable' then
    return nil, 'unavailable'
  end
  if not permitted(entry, password) or kills.covers(entry.tenant, entry.inbox) then
    return nil, 'refused'
  end
  return entry
end

local function attempt(authz, authc, password, conn_meta)
  local username = authc:lower()
  local by_address = 'ig:authfail:ip:' .. peer_address(conn_meta)
  local by_name = 'ig:authfail:u:' .. username:sub(1, 254)
  local address_failures, name_failures = failures(by_address, by_name)
  if address_failures >= FAILURES_PER_ADDRESS then
    return 'busy'
  end
  local entry, why = nil, 'refused'
  -- Nobody acts for somebody else.
  if authz:lower() == username then
    entry, why = verify(username, password, name_failures)
  end
  if why == 'unavailable' then
    return why
  end
  if not entry then
    return count_failure(by_address, by_name) and 'busy' or 'refused'
  end
  conn_meta:set_meta('tenant', entry.tenant)
  -- The campaign is part of the queue's name, so one inbox can be suspended by itself.
  conn_meta:set_meta('campaign', entry.inbox)
  conn_meta:set_meta('x_inbox', entry.inbox)
  conn_meta:set_meta('x_domain', entry.domain)
  return 'ok'
end

-- Unknown name, wrong password, paused and killed all get the same 535; only an outage says 454 (RFC 4954
-- section 6), because a client must not take it for a wrong password.
function M.check(authz, authc, password, conn_meta)
  if drain.is_on() then
    kumo.disconnect(421, drain.TEXT)
  end
  local ran, outcome = pcall(attempt, authz, authc, password, conn_meta)
  if not ran then
    kumo.log_error('login: ' .. tostring(outcome))
    outcome = 'unavailable'
  end
  if outcome == 'busy' then
    kumo.disconnect(421, '4.7.0 too many failed logins from your address, try again later')
  elseif outcome == 'unavailable' then
    kumo.reject(454, '4.7.0 temporary authentication failure')
  end
  return outcome == 'ok'
end

return M
