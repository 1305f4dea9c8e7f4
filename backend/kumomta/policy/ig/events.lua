-- The log hook: every delivery event goes to the control plane, in batches, at least once.
--
-- kumod's stock webhook helper drops an event for good when the receiver answers anything but 2xx, so this one is ours.
local kumo = require 'kumo'
local log_hooks = require 'policy-extras.log_hooks'
local control = require 'ig.control'
local settings = require 'ig.settings'

local M = {}

-- x_trace ties the records of one mail and its reports together; x_tenant is whose mail a report is about, and
-- x_reporter names the domains that proved to have sent the report.
M.META = { 'tenant', 'campaign', 'x_inbox', 'x_domain', 'x_trace', 'x_tenant', 'x_reporter' }

-- These are about us, not about the record: a wrong token, a missing route during a deployment, an overload. The
-- records wait in the spool until it is put right.
local RETRY = { [401] = true, [403] = true, [404] = true, [408] = true, [425] = true, [429] = true }

-- SMTP verbs that may appear as the command of a refused step.
local VERBS = {
  EHLO = true,
  HELO = true,
  MAIL = true,
  RCPT = true,
  DATA = true,
  RSET = true,
  STARTTLS = true,
  QUIT = true,
}

-- For a refused login kumod writes the client's base64 response, that is user name and password, into
-- response.command. Only a command that starts with another known verb is passed on.
local function scrub(record)
  local response = record.response
  local verb = response and type(response.command) == 'string' and response.command:match '^(%a+)'
  if response and not (verb and VERBS[verb:upper()]) then
    response.command = nil
  end
end

-- A report counts for the tenant whose mail it is proven to be about, and for nobody else: kumod's own trace is
-- readable by everyone, so anyone could have written it.
local function attribute(record)
  if record.feedback_report then
    record.feedback_report.supplemental_trace = nil
  end
  if record.meta then
    record.meta.tenant, record.meta.x_tenant = record.meta.x_tenant, nil
  end
end

local REWRITES = { Rejection = scrub, OOB = attribute, Feedback = attribute }

-- An empty Lua table has no JSON type of its own; it is left out rather than guessed.
local function without_empties(value)
  if type(value) ~= 'table' then
    return value
  end
  for name, item in pairs(value) do
    value[name] = without_empties(item)
  end
  return next(value) ~= nil and value or nil
end

-- The record's own JSON is passed through as it is, but for the types above.
local function wrapped(msg)
  local record = msg:get_meta 'log_record'
  local body
  if REWRITES[record.type] then
    REWRITES[record.type](record)
    body = kumo.serde.json_encode(without_empties(record))
  else
    body = msg:get_data()
  end
  return string.format(
    '{"event_id":%s,"node":%s,"record":%s}',
    -- The id of the log message stays the same over retries and restarts: receivers drop doubles by it.
    kumo.serde.json_encode(msg:id()),
    kumo.serde.json_encode(settings.hostname),
    body
  )
end

local function post(items)
  local ok, status, text = pcall(control.post, '/webhooks/kumomta', '{"records":[' .. table.concat(items, ',') .. ']}')
  if not ok then
    return 'retry', tostring(status)
  end
  local answer = string.format('%d %s', status, text:sub(1, 200))
  if status >= 200 and status < 300 then
    return 'ok', answer
  end
  if status >= 500 or RETRY[status] then
    return 'retry', answer
  end
  return 'refused', answer
end

-- What the control plane will never take is kept for a person to look at.
local function bury(item, answer)
  local path = settings.log_dir .. '/ig-dead-letters.jsonl'
  local file, why = io.open(path, 'a')
  if not file then
    kumo.log_error('events: cannot write ' .. path .. ': ' .. tostring(why))
    return false
  end
  file:write(string.format('{"answer":%s,"item":%s}\n', kumo.serde.json_encode(answer), item))
  file:close()
  return true
end

-- Returns the text of success, or nil and the reason to try the whole batch again.
local function deliver(items)
  local outcome, answer = post(items)
  if outcome == 'ok' then
    return answer
  end
  if outcome == 'refused' and #items == 1 then
    return bury(items[1], answer) and ('dead letter: ' .. answer) or nil, answer
  end
  if outcome == 'refused' then
    -- One bad record must not take its neighbours along.
    for _, item in ipairs(items) do
      local done, why = deliver { item }
      if not done then
        return nil, why
      end
    end
    return 'sent one by one'
  end
  return nil, answer
end

local function connection()
  local hook = {}
  function hook.send_batch(_, messages)
    local items = {}
    for _, msg in ipairs(messages) do
      items[#items + 1] = wrapped(msg)
    end
    local done, why = deliver(items)
    if not done then
      kumo.reject(451, 'control plane: ' .. why)
    end
    return done
  end
  return hook
end

-- Must run at the top level of the policy.
function M.declare()
  log_hooks:new {
    name = 'ig',
    log_parameters = {
      meta = M.META,
      per_record = {
        Delayed = { enable = false },
        AdminRebind = { enable = false },
        DeferredInjectionRebind = { enable = false },
        XferOut = { enable = false },
        XferIn = { enable = false },
      },
    },
    queue_config = {
      retry_interval = '10 seconds',
      max_retry_interval = '5 minutes',
      max_age = '7 days',
    },
    batch_size = 100,
    min_batch_size = 1,
    max_batch_latency = '1s',
    constructor = connection,
  }
end

return M
