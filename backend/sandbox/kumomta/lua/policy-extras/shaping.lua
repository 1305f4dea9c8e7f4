-- Stands in for kumod's helper of the same name: the limits of a path by recipient domain, from JSON files, with those
-- of "default" below them. Sites, providers, sources and automation, which kumod's has, are not there.
local kumo = require 'kumo'

local mod = {}

local DEFAULTS = {
  enable_tls = 'OpportunisticInsecure',
  connection_limit = 10,
  max_deliveries_per_connection = 100,
  refresh_strategy = 'Epoch',
}

local function loaded(file_name)
  local file = assert(io.open(file_name, 'r'))
  local text = file:read 'a'
  file:close()
  return kumo.serde.json_parse(text)
end

function mod:setup(extra_files)
  if self.CONFIGURED then
    error 'shaping module has already been configured'
  end
  self.CONFIGURED = true
  return function(domain, _egress_source, _site_name)
    local params = {}
    local function merge(from)
      for key, value in pairs(from or {}) do
        params[key] = value
      end
    end
    merge(DEFAULTS)
    for _, file_name in ipairs(extra_files or {}) do
      local data = loaded(file_name)
      merge(data.default)
      merge(data[domain])
    end
    return kumo.make_egress_path(params)
  end
end

return mod
