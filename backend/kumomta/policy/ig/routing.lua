-- Queues, pools, sources and paths of outgoing mail.
local kumo = require 'kumo'
local kills = require 'ig.kills'
local settings = require 'ig.settings'

local M = {}

local POOL = 'ig'
local VOID_POOL = 'ig-void'
local SOURCE = 'ig-direct'

-- Several queues of one tenant ask at the same time; Redis answers once. An error says `unknown`.
local stopped = kumo.memoize(function(tenant, inbox)
  local ok, covered = pcall(kills.covers, tenant, inbox)
  return { yes = ok and covered }
end, { name = 'user.ig_stopped', ttl = '5s', capacity = 50000, invalidate_with_epoch = true })

-- The second belt of the kill switch. Suspensions are forgotten by a restart; a pool without sources is not, since
-- the kill set is asked again every minute. While Redis is away the suspensions alone hold queued mail.
function M.queue_config(_domain, tenant, campaign, _routing_domain)
  local pool, strategy = POOL, 'Ttl'
  if tenant and stopped(tenant, campaign or '').yes then
    -- A stopped queue is asked about again when a resume bumps the epoch: at once, not within the minute, because
    -- the flush that follows would still find the void.
    pool, strategy = VOID_POOL, 'Epoch'
  end
  return kumo.make_queue_config {
    egress_pool = pool,
    retry_interval = '20 minutes',
    max_retry_interval = '8 hours',
    max_age = '3 days',
    refresh_strategy = strategy,
    refresh_interval = '1 minute',
  }
end

function M.pool(name)
  if name == VOID_POOL then
    return kumo.make_egress_pool { name = name, entries = {} }
  end
  return kumo.make_egress_pool { name = name, entries = { { name = SOURCE, weight = 1 } } }
end

function M.source(name)
  return kumo.make_egress_source {
    name = name,
    ehlo_domain = settings.hostname,
    remote_port = settings.egress_port,
  }
end

-- kumod's own table of what each provider puts up with, and the operator's files on top of it. It comes with the
-- package, but a node may do without.
local function provider_limits()
  local present, shaping = pcall(require, 'policy-extras.shaping')
  if not present then
    return nil
  end
  return shaping:setup(settings.shaping_files)
end

local shaped = provider_limits()

-- Used without that table, or while it cannot be read: slower than most providers ask for. Certificates of receiving
-- hosts often do not match their names; encryption without proof is better than none (RFC 7435).
local function cautious()
  return kumo.make_egress_path {
    enable_tls = 'OpportunisticInsecure',
    connection_limit = 10,
    max_deliveries_per_connection = 100,
    connect_timeout = '30s',
    idle_timeout = '5s',
  }
end

function M.path(routing_domain, egress_source, site_name)
  if shaped then
    local ok, path = pcall(shaped, routing_domain, egress_source, site_name)
    if ok then
      return path
    end
    kumo.log_error('routing: shaping cannot be used: ' .. tostring(path))
  end
  return cautious()
end

return M
