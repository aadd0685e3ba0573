-- The network of a container: devices made for it or moved into it, their addresses, and routes.
local core = require "caisson.core"

local M = {}

local common = { "address", "gateway", "mtu" }

-- What each kind of device takes, beside itself and what all take.
local kinds = {
  veth = { "bridge", "host", "mac", "queue", "hairpin" },
  macvlan = { "parent", "mode", "mac" },
  ipvlan = { "parent", "mode", "isolation" },
  move = { "name", "mac", "queue" },
  pasta = { "tcp", "udp" },
}
M.kinds = kinds
local kind_list = { "veth", "macvlan", "ipvlan", "move", "pasta" }
for kind, keys in pairs(kinds) do
  for _, k in ipairs(kind ~= "pasta" and common or {}) do keys[#keys + 1] = k end
  keys[#keys + 1] = kind
end

-- What was given, for a message.
local function shown(v)
  local s = tostring(v):gsub("%c", "?")
  return #s > 60 and s:sub(1, 57) .. "..." or s
end

local function check_name(b, key, name, run)
  b:check_type(key, name, "string")
  -- what stands for "*" is drawn for each run: 11 digits
  if not core.link.is_name(run and name:gsub("%*", ("0"):rep(11), 1) or name) then
    b:fail(key, ("a device's name has 1 to 15 printable bytes without / : %% * and space%s, got '%s'"):format(
      run and " (one * stands for 11 digits)" or "", shown(name)))
  end
  return name
end

-- One address or a list of them, as a list. network: with the length of its prefix.
local function addresses(b, key, value, network)
  if value == nil then return {} end
  b:check_type(key, value, "string", "table")
  if type(value) == "string" then value = { value } end
  for k, s in pairs(value) do
    local at = #value > 1 and key .. "/" .. tostring(k) or key
    if type(k) ~= "number" then b:fail(key, ("a list expected, got the name '%s'"):format(shown(k))) end
    b:check_type(at, s, "string")
    local a = core.address.parse(s)
    if not a or (a.prefix ~= nil) ~= network then
      b:fail(at, ("%s expected, got '%s'"):format(network and "an address with the length of its network's prefix, "
        .. "such as 10.0.0.2/24," or "an address, such as 10.0.0.1,", shown(s)))
    end
  end
  return value
end

local function check_number(b, key, value, least, most)
  if value == nil then return end
  if type(value) ~= "number" or value % 1 ~= 0 or value < least or value > most then
    b:fail(key, ("a whole number from %d to %d expected, got %s"):format(least, most, shown(value)))
  end
end

-- What of a device's addresses is not this host's alone: what the kernel, or a router, has given it stays.
local function kept(device)
  local list = {}
  for _, a in ipairs(core.address.list() or {}) do
    if a.dev == device and a.global and a.permanent then list[#list + 1] = a.address end
  end
  return list
end

local makers = {}

function makers.veth(b, key, d)
  local host = check_name(b, key .. "/host", d.host or "veth*", true)
  if d.bridge ~= nil then check_name(b, key .. "/bridge", d.bridge) end
  if d.hairpin ~= nil then
    b:check_type(key .. "/hairpin", d.hairpin, "boolean")
    if not d.bridge then b:fail(key .. "/hairpin", "it is of a bridge's port (bridge = \"...\")") end
  end
  b:step(key, "link.veth", { name = d.veth, host = host, bridge = d.bridge, mac = d.mac, mtu = d.mtu,
    queue = d.queue, hairpin = d.hairpin or nil })
end

function makers.macvlan(b, key, d)
  if d.parent == nil then b:fail(key, "over which of the host's devices? parent = \"...\"") end
  check_name(b, key .. "/parent", d.parent)
  b:step(key, "link.macvlan", { name = d.macvlan, parent = d.parent, mode = d.mode, mac = d.mac, mtu = d.mtu })
end

function makers.ipvlan(b, key, d)
  if d.parent == nil then b:fail(key, "over which of the host's devices? parent = \"...\"") end
  check_name(b, key .. "/parent", d.parent)
  b:step(key, "link.ipvlan", { name = d.ipvlan, parent = d.parent, mode = d.mode, isolation = d.isolation,
    mtu = d.mtu })
end

function makers.move(b, key, d, number)
  d.kept = kept(d.move)
  b:step(key, "link.move", { device = d.move, name = d.name, addresses = #d.kept > 0 and d.kept or nil,
    netns = "netns", moved = "moved." .. number })
end

-- All of it is pasta's doing.
function makers.pasta(b, key, d) require("caisson.pasta").build(b, key, d) end

-- The item of the list with its kind, checked; a copy.
local function check_device(b, key, given)
  b:check_type(key, given, "table")
  local kind
  for _, k in ipairs(kind_list) do
    if given[k] ~= nil then
      if kind then b:fail(key, ("one of %s expected, got both %s and %s"):format(table.concat(kind_list, ", "), kind, k)) end
      kind = k
    end
  end
  if not kind then b:fail(key, "what kind of device? one of " .. table.concat(kind_list, ", ")) end
  b:check_keys(key, given, kinds[kind])
  local d = { kind = kind }
  for k, v in pairs(given) do d[k] = v end
  check_name(b, key .. "/" .. kind, d[kind])
  if d.name ~= nil then check_name(b, key .. "/name", d.name) end
  check_number(b, key .. "/mtu", d.mtu, 68, 2147483647)
  check_number(b, key .. "/queue", d.queue, 1, 4294967295)
  if d.mac ~= nil and not (type(d.mac) == "string" and core.link.is_mac(d.mac)) then
    b:fail(key .. "/mac", ("a hardware address such as 02:42:0a:00:00:02 expected, got %s"):format(shown(d.mac)))
  end
  d.inside = d.name or d[kind]
  d.address = addresses(b, key .. "/address", d.address, true)
  d.gateway = addresses(b, key .. "/gateway", d.gateway, false)
  return d
end

local route_keys = { "to", "via", "dev", "metric", "source", "onlink" }

local function route(b, key, r)
  b:check_type(key, r, "table")
  b:check_keys(key, r, route_keys)
  local to = b:check_type(key .. "/to", r.to or "default", "string")
  if to ~= "default" and not core.address.parse(to) then
    b:fail(key .. "/to", ("a network such as 10.1.0.0/16, an address or default expected, got '%s'"):format(shown(to)))
  end
  for _, k in ipairs { "via", "source" } do
    if r[k] ~= nil then addresses(b, key .. "/" .. k, b:check_type(key .. "/" .. k, r[k], "string"), false) end
  end
  if r.dev ~= nil then check_name(b, key .. "/dev", r.dev) end
  if r.via == nil and r.dev == nil then b:fail(key, "where to? via = a gateway, dev = a device, or both") end
  check_number(b, key .. "/metric", r.metric, 0, 4294967295)
  if r.onlink ~= nil then b:check_type(key .. "/onlink", r.onlink, "boolean") end
  b:step(key, "route.add", { to = to, via = r.via, dev = r.dev, metric = r.metric, source = r.source,
    onlink = r.onlink or nil })
end

-- The steps of a recipe's options network and routes: first those of the host's side, in one turn of its, then
-- the container's own.
function M.build(b)
  local o = b.options
  if not o.network and not o.routes then return end
  local devices, names = {}, {}
  for i, given in ipairs(o.network or {}) do
    local key = "network/" .. i
    local d = check_device(b, key, given)
    if not b.new.net and not (b.join.net and d.kind == "move") then
      b:fail(key, b.join.net and "what is made for a container goes with its network namespace; one that is joined "
        .. "stays, and can only have devices moved into it" or "it needs a network namespace (namespaces.net = true)")
    end
    if names[d.inside] then
      b:fail(key, ("network[%d] is called %s already"):format(names[d.inside], d.inside))
    end
    names[d.inside] = i
    devices[i] = d
  end
  if not b.new.net and not b.join.net then b:fail("routes", "they need a network namespace (namespaces.net = true)") end
  b.phase = "network"
  for _, d in ipairs(devices) do
    if b.wait and b.new.net and d.kind == "move" then -- it outlives us: who deletes it has to find them
      b.plan.steps[#b.plan.steps + 1] = require("caisson.plan").call(function(pid) return b.hold_network(pid) end,
        { name = "network.hold", side = "parent", phase = "network", at = "?" })
      break
    end
  end
  for i, d in ipairs(devices) do makers[d.kind](b, "network/" .. i, d, i) end
  for i, d in ipairs(devices) do
    local key, moved = "network/" .. i, d.kind == "move"
    if d.kind ~= "pasta" then
      b:step(key, "link.set", { name = d.inside, up = true, mac = moved and d.mac or nil, mtu = moved and d.mtu or nil,
        queue = moved and d.queue or nil })
    end
    for _, list in ipairs { d.kept or {}, d.address } do
      for _, a in ipairs(list) do b:step(key, "address.add", { address = a, dev = d.inside }) end
    end
  end
  for i, d in ipairs(devices) do
    for _, via in ipairs(d.gateway) do
      b:step("network/" .. i, "route.add", { to = "default", via = via, dev = d.inside })
    end
  end
  for i, r in ipairs(o.routes or {}) do route(b, "routes/" .. i, r) end
end

-- What may help after a step of these has failed; nil where we are not sure.
function M.hint(failure)
  if failure.code == "EPERM" and failure.side == "parent" then
    return "devices on the host's side take its CAP_NET_ADMIN; without it join a namespace that somebody has prepared "
      .. "(namespaces = { net = \"/run/netns/...\" }), or have pasta serve one (network = { { pasta = \"eth0\" } })"
  elseif failure.code == "EOPNOTSUPP" and (failure.step == "link.macvlan" or failure.step == "link.ipvlan") then
    return ("the kernel has no %s: as root, modprobe %s"):format(failure.step:sub(6), failure.step:sub(6))
  elseif failure.code == "ENODEV" and (failure.object or ""):find(" on ", 1, true) and failure.step == "link.veth" then
    return "the bridge is the host's to make: ip link add NAME type bridge; ip link set NAME up"
  end
end

return M
