-- The last resort of the directory: a copy on this node's disk, for when neither Redis nor the control plane answers.
--
-- The control plane writes the copy as text: a first line of JSON (`etag`, and who is stopped), one line for each
-- inbox, `name TAB entry`, in the order of the names' octets, and a last line `end TAB etag`. So one inbox among
-- 100,000 is found with a few reads, and nothing is held in memory. It holds HMACs of passwords, never passwords.
local kumo = require 'kumo'
local control = require 'ig.control'
local settings = require 'ig.settings'

local M = {}

local PATH = settings.snapshot_dir .. '/ig-snapshot'
-- The ETag of the copy, and when the control plane last confirmed it.
local STATE = PATH .. '.state'
local ROUTE = '/internal/mta/v1/snapshot'

-- A reader sees the old file or the new one, never a half of either.
local function write(path, ...)
  local scratch = path .. '.new'
  local file = assert(io.open(scratch, 'wb'))
  for _, piece in ipairs { ... } do
    assert(file:write(piece))
  end
  assert(file:close())
  assert(os.rename(scratch, path))
end

local function read(path)
  local file = assert(io.open(path, 'rb'))
  local text = file:read 'a'
  file:close()
  return text
end

local function state()
  local ok, kept = pcall(function()
    return kumo.serde.json_parse(read(STATE))
  end)
  return ok and kept or {}
end

-- Fetches what is new. The copy goes first: after a crash between the two it is merely fetched once more.
function M.refresh()
  local before, asked_at = state().etag, os.time()
  local status, text = control.fetch(ROUTE, before)
  local etag = before
  if status == 200 then
    etag = kumo.serde.json_parse(text:match '^[^\n]+').etag
    assert(text:sub(-#etag - 6) == '\nend\t' .. etag .. '\n', 'the snapshot was cut off')
    write(PATH, text)
  elseif status ~= 304 then
    error(string.format('control plane answered %d to %s', status, ROUTE))
  end
  write(STATE, kumo.serde.json_encode { etag = etag, confirmed = asked_at })
end

-- Runs for as long as the node does.
function M.keep_fresh()
  while true do
    local ok, why = pcall(M.refresh)
    if not ok then
      kumo.log_warn('snapshot: ' .. tostring(why))
    end
    kumo.time.sleep(settings.snapshot_seconds)
  end
end

-- Calls `work(file)` with the copy; raises when there is none, or none that is fresh enough to be trusted.
local function with_copy(work)
  local confirmed = state().confirmed
  assert(confirmed, 'there is no snapshot')
  assert(os.time() - confirmed <= settings.snapshot_max_age, 'the snapshot is too old')
  local file = assert(io.open(PATH, 'rb'))
  local ok, found = pcall(work, file)
  file:close()
  assert(ok, found)
  return found
end

-- The first line that begins at or after `at`: where it begins, and its text.
local function line_from(file, at, start)
  if at > start then
    file:seek('set', at - 1)
    file:read 'l'
  else
    file:seek('set', start)
  end
  return file:seek(), file:read 'l'
end

-- The entry of one name, nil when the copy has none.
function M.find(username)
  return with_copy(function(file)
    file:read 'l'
    local start, stop = file:seek(), file:seek 'end'
    local low, high = start, stop
    while low < high do
      local middle = (low + high) // 2
      local begins, line = line_from(file, middle, start)
      local name = line and line:match '^[^\t]+'
      if not name or begins >= high or (name == 'end' and begins + #line + 1 == stop) then
        high = middle
      elseif name == username then
        return kumo.serde.json_parse(line:sub(#name + 2))
      elseif name < username then
        low = begins + #line + 1
      else
        high = middle
      end
    end
  end)
end

-- Who was stopped: `tenants` and `inboxes`, lists of ids.
function M.kills()
  return with_copy(function(file)
    return kumo.serde.json_parse(file:read 'l')
  end)
end

return M
