-- Stands in for kumod's helper of the same name: declares a log hook, its queue and its connection.
local kumo = require 'kumo'

local mod = { CONFIGURED = {} }

local KNOWN = {
  name = 'string',
  log_parameters = 'table',
  queue_config = 'table',
  constructor = 'function',
  batch_size = 'number',
  min_batch_size = 'number',
  max_batch_latency = 'string',
  filter = 'function',
}

local function checked(options)
  for key, value in pairs(options) do
    if type(value) ~= KNOWN[key] then
      error(string.format('LogHookOptions: %s must be %s', tostring(key), KNOWN[key] or 'left out, it is unknown'), 3)
    end
  end
  if not (options.name and options.constructor) then
    error('LogHookOptions: name and constructor are required', 3)
  end
  return options
end

local function merged(into, from)
  for key, value in pairs(from or {}) do
    into[key] = value
  end
  return into
end

function mod:new(options)
  options = checked(options)
  if mod.CONFIGURED[options.name] then
    error(string.format("log_hook with name '%s' has already been configured", options.name))
  end
  mod.CONFIGURED[options.name] = options
  local domain_name = options.name .. '.log_hook'
  local constructor_name = 'make.' .. domain_name

  kumo.on('pre_init', function()
    kumo.configure_log_hook(merged({ name = options.name }, options.log_parameters))
  end)

  kumo.on('should_enqueue_log_record', function(msg, hook_name)
    if hook_name ~= options.name then
      return nil
    end
    if msg:get_meta('log_record').reception_protocol == 'LogRecord' then
      return false
    end
    if options.filter and options.filter(msg, hook_name) then
      return false
    end
    msg:set_meta('queue', domain_name)
    return true
  end)

  local config = merged({ retry_interval = '1m', max_retry_interval = '20m' }, options.queue_config)
  config.protocol = {
    custom_lua = {
      constructor = constructor_name,
      batch_size = options.batch_size or 1,
      min_batch_size = options.min_batch_size,
      max_batch_latency = options.max_batch_latency,
    },
  }
  kumo.on('get_queue_config', function(domain)
    if domain == domain_name then
      return kumo.make_queue_config(config)
    end
  end)

  kumo.on(constructor_name, options.constructor)
end

return mod
