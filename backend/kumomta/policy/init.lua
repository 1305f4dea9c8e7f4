-- The policy of an InboxGrove sending node: kumod 2025.12 or newer runs this file.
--
-- It reads like a table of contents: every event of kumod is bound to the module that answers it. All state that
-- nodes share lives in Redis; all that a node must ask comes from the control plane (see ig/settings.lua).
local kumo = require 'kumo'

local access = require 'ig.access'
local events = require 'ig.events'
local guard = require 'ig.guard'
local kills = require 'ig.kills'
local login = require 'ig.login'
local node = require 'ig.node'
local reports = require 'ig.reports'
local routing = require 'ig.routing'
local snapshot = require 'ig.snapshot'
local submission = require 'ig.submission'

-- The log hook claims its own queue, so it must be declared before our get_queue_config.
events.declare()

kumo.on('pre_init', node.raise_caches)

kumo.on('init', function()
  -- init ends before the spool is read: suspensions come first, so that no killed mail leaves at a restart.
  kills.restore()
  node.start()
end)

-- In the background, from the node's start to its end.
kumo.on('ig.snapshot', snapshot.keep_fresh)

-- Who may talk to us.
kumo.on('smtp_server_auth_plain', login.check)
kumo.on('http_server_validate_auth_bearer', access.check_token)
kumo.on('get_acl_definition', access.definition)

-- What a logged-in inbox may send, and what a stranger may hand in (delivery and complaint reports, nothing else).
kumo.on('get_listener_domain', function(domain, _listener, conn_meta)
  if conn_meta:get_meta 'authz_id' then
    return kumo.make_listener_domain { relay_to = true }
  end
  return reports.listener_domain(domain)
end)

kumo.on('smtp_server_mail_from', function(sender, conn_meta)
  guard.answer(function()
    if conn_meta:get_meta 'authz_id' then
      return submission.mail_from(sender, conn_meta)
    end
    return reports.mail_from(sender, conn_meta)
  end)
end)

kumo.on('smtp_server_rcpt_to', function(recipient, conn_meta)
  guard.answer(function()
    if conn_meta:get_meta 'authz_id' then
      return submission.rcpt_to(recipient, conn_meta)
    end
    return reports.rcpt_to(recipient, conn_meta)
  end)
end)

kumo.on('smtp_server_data', function(msg, conn_meta)
  guard.answer(function()
    if conn_meta:get_meta 'authz_id' then
      return submission.data(msg, conn_meta)
    end
  end)
end)

kumo.on('smtp_server_message_received', function(msg, conn_meta)
  guard.answer(function()
    if conn_meta:get_meta 'authz_id' then
      return submission.received(msg, conn_meta)
    end
    return reports.received(msg)
  end)
end)

-- Mail that the control plane hands in over HTTP passes the same rules.
kumo.on('http_message_generated', function(msg)
  guard.answer(function()
    return submission.injected(msg)
  end)
end)

-- Where mail goes out.
kumo.on('get_queue_config', routing.queue_config)
kumo.on('get_egress_pool', routing.pool)
kumo.on('get_egress_source', routing.source)
kumo.on('get_egress_path_config', routing.path)
