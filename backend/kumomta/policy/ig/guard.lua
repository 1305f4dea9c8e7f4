-- Turns a module's verdict into an SMTP answer.
local kumo = require 'kumo'

local M = {}

-- A Lua error inside an SMTP event makes kumod answer 421 and drop the session, which clients report as a broken
-- server. So `work` runs protected: it returns nothing to accept, or a code and a text to refuse; an error of any
-- kind (Redis away, control plane away) becomes 451, and the client tries again later.
function M.answer(work)
  local ok, code, text = pcall(work)
  if not ok then
    kumo.log_error('policy: ' .. tostring(code))
    kumo.reject(451, '4.3.0 temporarily unavailable, please try again later')
  end
  if code == 421 then
    kumo.disconnect(421, text)
  elseif code then
    kumo.reject(code, text)
  end
end

return M
