-- The control plane's internal HTTP API, as seen by a node.
local kumo = require 'kumo'
local settings = require 'ig.settings'

local M = {}

local client = nil

local function shared_client()
  if not client then
    client = kumo.http.build_client {
      timeout = '2s',
      user_agent = 'inboxgrove-node',
    }
  end
  return client
end

-- One path segment, percent-encoded (RFC 3986 section 2.1).
function M.segment(text)
  return (text:gsub('[^%w%-._~]', function(c)
    return string.format('%%%02X', string.byte(c))
  end))
end

-- The `data` of the answer, or nil for 404; any other outcome is an error.
function M.get(path)
  local response = shared_client()
    :get(settings.control_url .. path)
    :bearer_auth(settings.mta_token)
    :send()
  local status = response:status_code()
  if status == 404 then
    return nil
  end
  if status ~= 200 then
    error(string.format('control plane answered %d to %s', status, path))
  end
  return kumo.serde.json_parse(response:text()).data
end

-- Status and text of a long answer; `etag` is what the caller has of it already.
function M.fetch(path, etag)
  local request = shared_client()
    :get(settings.control_url .. path)
    :bearer_auth(settings.mta_token)
    :timeout('60s')
  if etag then
    request:header('If-None-Match', '"' .. etag .. '"')
  end
  local response = request:send()
  return response:status_code(), response:text()
end

-- Posts a JSON text; returns the status and the answer's text.
function M.post(path, body)
  local response = shared_client()
    :post(settings.control_url .. path)
    :bearer_auth(settings.mta_token)
    :header('Content-Type', 'application/json')
    :body(body)
    :timeout('10s')
    :send()
  return response:status_code(), response:text()
end

return M
