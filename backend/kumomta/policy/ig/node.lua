-- The node itself: spool, logs, listeners.
local kumo = require 'kumo'
local events = require 'ig.events'
local settings = require 'ig.settings'

local M = {}

-- The defaults (128 to 1,024 entries) are below the number of sending domains of a full node.
function M.raise_caches()
  kumo.set_lruttl_cache_capacity('dkim_signer_cache', 50000)
  kumo.set_lruttl_cache_capacity('dkim_key_cache', 50000)
end

local function listen_smtp(address)
  kumo.start_esmtp_listener {
    listen = address,
    hostname = settings.hostname,
    -- Without a certificate kumod makes a self-signed one.
    tls_certificate = settings.tls_cert,
    tls_private_key = settings.tls_key,
    -- An empty list: nobody sends without a login, not even this machine.
    relay_hosts = {},
    max_message_size = 25 * 1024 * 1024,
    max_recipients_per_message = 100,
    -- kumod's own tracing header is readable and can be made up by everyone; ours is keyed (ig/traces.lua).
    trace_headers = {
      received_header = true,
      supplemental_header = false,
    },
  }
end

function M.start()
  for _, name in ipairs { 'data', 'meta' } do
    kumo.define_spool {
      name = name,
      path = settings.spool_dir .. '/' .. name,
      kind = 'RocksDB',
    }
  end

  kumo.configure_bounce_classifier {
    files = { '/opt/kumomta/share/bounce_classifier/iana.toml' },
  }

  kumo.configure_local_logs {
    log_dir = settings.log_dir,
    max_segment_duration = '10 seconds',
    meta = events.META,
    -- A refused login's record holds the password; it must not reach the disk.
    per_record = { Rejection = { enable = false } },
  }

  kumo.start_http_listener {
    listen = settings.admin_listen,
    trusted_hosts = { '127.0.0.1', '::1' },
  }

  kumo.spawn_task { event_name = 'ig.snapshot' }

  listen_smtp(settings.submission_listen)
  if settings.inbound_listen then
    listen_smtp(settings.inbound_listen)
  end
end

return M
