-- Gives one Lua state the `kumo` and `redis` modules of kumod, with the sandbox behind them.
--
-- `host` holds plain functions that answer `true, value…` or `false, message`; here a `false` becomes a Lua error, so
-- that pcall in a policy works as it does under kumod.
local host = ...

local Reject = { __tostring = function(self)
  return string.format('%d %s', self.code, self.message)
end }

local function check(ok, ...)
  if ok then
    return ...
  end
  error((...), 0)
end

-- Objects of the host are tables with a hidden handle; only declared methods and fields can be reached, as on
-- kumod's userdata.
local classes = {}

local function class_of(name)
  local class = classes[name]
  if class then
    return class
  end
  local methods, fields = {}, {}
  for _, method in ipairs(check(host.methods(name))) do
    methods[method] = function(self, ...)
      return check(host.invoke(rawget(self, '__h'), method, ...))
    end
  end
  for _, field in ipairs(check(host.fields(name))) do
    fields[field] = true
  end
  class = {
    __name = name,
    userdata = true,
    __index = function(self, key)
      if methods[key] then
        return methods[key]
      end
      if fields[key] then
        return check(host.field(rawget(self, '__h'), key))
      end
      error(string.format('%s has no field or method named %s', name, tostring(key)), 2)
    end,
    __newindex = function()
      error(name .. ' is read-only', 2)
    end,
    __tostring = function(self)
      return check(host.text(rawget(self, '__h')))
    end,
  }
  classes[name] = class
  return class
end

local function wrap(handle, name)
  return setmetatable({ __h = handle }, class_of(name))
end

local kumo = {}
for _, path in ipairs(check(host.names())) do
  local at, parent = kumo, nil
  for part in path:gmatch '[^.]+' do
    parent = at
    at[part] = at[part] or {}
    at = at[part]
  end
  parent[path:match '[^.]+$'] = function(...)
    return check(host.call(path, ...))
  end
end

-- Handlers. The last one wins, except for the events that kumod chains in order of registration.
local handlers = {}

function kumo.on(event, handler)
  if type(event) ~= 'string' or type(handler) ~= 'function' then
    error('kumo.on takes the name of an event and a function', 2)
  end
  handlers[event] = handlers[event] or {}
  table.insert(handlers[event], handler)
end

function kumo.reject(code, message)
  if math.type(code) ~= 'integer' or type(message) ~= 'string' then
    error('kumo.reject takes an integer and a string', 2)
  end
  error(setmetatable({ code = code, message = message, disposition = 'If421' }, Reject), 0)
end

function kumo.disconnect(code, message, disposition)
  disposition = disposition or 'ForceDisconnect'
  local known = { ForceDisconnect = true, FollowWith421 = true, If421 = true }
  if math.type(code) ~= 'integer' or type(message) ~= 'string' or not known[disposition] then
    error('kumo.disconnect takes an integer, a string and a disposition', 2)
  end
  error(setmetatable({ code = code, message = message, disposition = disposition }, Reject), 0)
end

-- A memoized table comes back as userdata of kumod: it can be indexed and walked, but it is no table.
local function memoized(value)
  if type(value) ~= 'table' or rawget(value, '__h') then
    return value
  end
  return setmetatable({}, {
    __name = 'MemoizedTable',
    __index = function(_, key)
      return memoized(value[key])
    end,
    __newindex = function()
      error('this host keeps memoized tables read-only', 2)
    end,
    __len = function()
      return #value
    end,
    __pairs = function()
      return function(_, key)
        local at, item = next(value, key)
        return at, memoized(item)
      end
    end,
    userdata = true,
  })
end

function kumo.memoize(loader, options)
  local name = check(host.memo_declare(options))
  return function(...)
    -- A miss returns a ticket: this call must load, and others with the same key wait for it.
    local hit, value = check(host.memo_take(name, ...))
    if hit then
      return memoized(value)
    end
    local ok, loaded = pcall(loader, ...)
    if not ok then
      check(host.memo_fail(value, tostring(loaded)))
      error(loaded, 0)
    end
    check(host.memo_put(value, loaded))
    return memoized(loaded)
  end
end

local redis = { open = kumo.redis_open }
kumo.redis_open = nil
package.loaded.kumo = kumo
package.loaded.redis = redis
_G.kumo = kumo

-- The world's clock and the host's environment, in place of the process's own.
local real_time, real_date = os.time, os.date
function os.time(parts)
  if parts then
    return real_time(parts)
  end
  return check(host.now())
end
function os.date(format, at)
  return real_date(format, at or check(host.now()))
end
function os.getenv(name)
  return check(host.getenv(name))
end

-- Objects of kumod are userdata, so a policy must not take them for tables.
local real_type = type
function type(value)
  local meta = getmetatable(value)
  if real_type(meta) == 'table' and meta.userdata then
    return 'userdata'
  end
  return real_type(value)
end

local function finish(ok, ...)
  if ok then
    return 'ok', ...
  end
  local err = ...
  if getmetatable(err) == Reject then
    return 'reject', err.code, err.message, err.disposition
  end
  return 'error', tostring(err)
end

local function traced(err)
  if getmetatable(err) == Reject then
    return err
  end
  return debug.traceback(tostring(err), 2)
end

-- Calls the handlers of an event. `mode`: "single" (the last one), "first" (in order until one answers), "all".
local function fire(event, mode, ...)
  local list = handlers[event]
  if not list then
    return 'missing'
  end
  if mode == 'single' then
    return finish(xpcall(list[#list], traced, ...))
  end
  for _, handler in ipairs(list) do
    local result = table.pack(finish(xpcall(handler, traced, ...)))
    if result[1] ~= 'ok' or (mode == 'first' and result[2] ~= nil) then
      return table.unpack(result, 1, result.n)
    end
  end
  return 'ok'
end

local function call_method(object, name, ...)
  local method = object[name]
  if type(method) ~= 'function' then
    return 'missing'
  end
  return finish(xpcall(method, traced, object, ...))
end

-- Stricter than kumod: contexts share no globals, so a policy that uses one has forgotten a `local` or misspelt a name.
setmetatable(_G, {
  __index = function(_, name)
    error(string.format('global `%s` is not declared', tostring(name)), 2)
  end,
  __newindex = function(_, name)
    error(string.format('global `%s` is not declared', tostring(name)), 2)
  end,
})

return { fire = fire, wrap = wrap, call_method = call_method }
