-- Who a message claims to be from: exactly the inbox that logged in.
local M = {}

-- Each of these makes a mail program show or credit a sender (RFC 5322 sections 3.6.2 and 3.6.6).
local LOCKED = { 'From', 'Sender', 'Resent-From', 'Resent-Sender' }

-- The one address of a header that occurs exactly once, lower case; nil when it is anything else. A second header
-- or a second address is refused rather than chosen from, because receivers do not agree on which one counts.
local function only_address(msg, name)
  local parsed, header = pcall(msg.get_address_header, msg, name)
  if not parsed or not header then
    return nil
  end
  local listed, list = pcall(function()
    return header.list
  end)
  if not listed or #list ~= 1 or not list[1].email then
    return nil
  end
  return list[1].email:lower()
end

-- nil when every sender header names `address`, else the code and text of the refusal.
function M.refuse_headers(msg, address)
  for _, name in ipairs(LOCKED) do
    local count = #msg:get_all_named_header_values(name)
    if count == 0 and name == 'From' then
      return 550, '5.7.1 the message has no From header'
    end
    if count > 1 or (count == 1 and only_address(msg, name) ~= address) then
      return 550, string.format('5.7.1 the %s header must be exactly %s', name, address)
    end
  end
end

-- nil when the envelope sender is `address`. An empty sender is no exception: an inbox sends no bounces.
function M.refuse_envelope(sender, address)
  if tostring(sender):lower() ~= address then
    return 550, string.format('5.7.1 sender must be %s', address)
  end
end

return M
