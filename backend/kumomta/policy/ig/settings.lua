-- What the node is told by its environment (/opt/kumomta/etc/kumod.env for the packaged service).
local function text(name, default)
  local value = os.getenv(name)
  if value == nil or value == '' then
    return default
  end
  return value
end

-- kumod's own name for this machine, a UUID, which the control plane reads from machine-info. At its first start kumod
-- may write the file after this was read; a Lua context lives five minutes only, so the next one knows.
local function node_id()
  local given = text('KUMO_NODE_ID', nil)
  if given then
    return given:lower()
  end
  local file = io.open(text('KUMO_NODE_ID_PATH', '/opt/kumomta/etc/.nodeid'), 'r')
  if not file then
    return ''
  end
  local line = file:read 'l' or ''
  file:close()
  return (line:gsub('%s', ''):lower())
end

-- A comma list of file names.
local function list(name)
  local found = {}
  for item in text(name, ''):gmatch '[^,%s]+' do
    found[#found + 1] = item
  end
  return found
end

local hostname = text('IG_HOSTNAME', 'localhost')

return {
  control_url = (text('IG_CONTROL_URL', 'http://127.0.0.1:8000'):gsub('/+$', '')),
  mta_token = text('IG_MTA_TOKEN', ''),
  admin_token = text('IG_ADMIN_TOKEN', ''),
  redis_url = text('IG_REDIS_URL', 'redis://127.0.0.1:6379/0'),
  auth_pepper = text('IG_AUTH_PEPPER', ''),
  -- Key of the trace tokens, the same on every node and on the control plane.
  trace_key = text('IG_TRACE_KEY', ''),

  submission_listen = text('IG_SUBMISSION_LISTEN', '0.0.0.0:587'),
  -- Reports from other providers arrive on port 25; unset on nodes that only send.
  inbound_listen = text('IG_INBOUND_LISTEN', nil),
  admin_listen = text('IG_ADMIN_LISTEN', '127.0.0.1:8000'),
  tls_cert = text('IG_TLS_CERT', nil),
  tls_key = text('IG_TLS_KEY', nil),

  hostname = hostname,
  node_id = node_id(),
  -- mx1.mta.example.com belongs to the zone mta.example.com.
  mail_zone = text('IG_MAIL_ZONE', (hostname:gsub('^[^.]+%.', ''))):lower(),
  -- Shaping files of the operator, on top of those of kumod (policy-extras.shaping).
  shaping_files = list 'IG_SHAPING_FILES',
  egress_port = tonumber(text('IG_EGRESS_PORT', '25')),
  spool_dir = text('IG_SPOOL_DIR', '/var/spool/kumomta'),
  log_dir = text('IG_LOG_DIR', '/var/log/kumomta'),

  -- The copy of the directory for when all else is away: where, how often it is asked for, how old it may be (s).
  snapshot_dir = text('IG_SNAPSHOT_DIR', text('IG_SPOOL_DIR', '/var/spool/kumomta')),
  snapshot_seconds = tonumber(text('IG_SNAPSHOT_SECONDS', '30')),
  snapshot_max_age = tonumber(text('IG_SNAPSHOT_MAX_AGE', '86400')),
}
