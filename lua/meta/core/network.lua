---@meta caisson.core
-- Network devices, addresses and routes (rtnetlink(7)). The host's steps make devices right in the child's network
-- namespace, or move them there; the child's own set them up. In recipes: the options network and routes. An error
-- carries the kernel's own words ("Nexthop has invalid gateway"). A device's name has 1 to 15 printable bytes.

---@class caisson.core
local core = {}

core.link = {}

---A cable: the end `name` for the child, the end `host` here, up, and a port of the bridge where one is named. At the
---run's end, or when a later step fails, the host's end is removed. Parent's side, CAP_NET_ADMIN here; on the child's
---side, and called directly, both ends are this namespace's. veth(4)
---
---    core.link.veth { name = "eth0", host = "veth*", bridge = "br0", mtu = 1400 }
---@param o { name: string, host: string, bridge?: string, mac?: string, mtu?: integer, queue?: integer, hairpin?: boolean } host: a * in it stands for 11 digits of the run's own; mtu in bytes; queue: packets; hairpin: frames may go back out of the port that they came from
---@return true|nil ok, string? message, integer? errno
function core.link.veth(o) end

---A device for the child with an address of its own on the network that the parent device is on; bridge: it reaches
---others over the same parent, private: it does not, vepa: by way of the switch. Parent's side, CAP_NET_ADMIN here. ip-link(8)
---@param o { name: string, parent: string, mode?: "bridge"|"private"|"vepa"|"passthru", mac?: string, mtu?: integer } mode: by default bridge
---@return true|nil ok, string? message, integer? errno
function core.link.macvlan(o) end

---The same with the parent's own hardware address: the devices are told apart by their addresses. Parent's side,
---CAP_NET_ADMIN here; a kernel without it answers EOPNOTSUPP. ip-link(8)
---@param o { name: string, parent: string, mode?: "l2"|"l3"|"l3s", isolation?: "bridge"|"private"|"vepa", mtu?: integer } by default l2, bridge
---@return true|nil ok, string? message, integer? errno
function core.link.ipvlan(o) end

---Move a device of the host's into the child's namespace, under that name. There it is down, and without addresses: the
---host's step takes them away. When the run ends, or a later step fails, it comes back with its name, its number where
---that is free, these addresses, and up where it was (routes are not restored). Should the host process be killed
---before, the kernel sends a physical device to the first network namespace and destroys any other. A plan's step only.
---Parent's side, CAP_NET_ADMIN here, and CAP_SYS_ADMIN to fetch it back.
---@param o { device: string, name?: string, addresses?: string[], netns: string, moved: string } netns, moved: slots of the plan, which keep what is needed to bring it back; netns may be one for all
---@return true? ok, string? message, integer? errno
function core.link.move(o) end

---Change a device of this network namespace, which must not be the host's: its name, state, hardware address, MTU in
---bytes, length of the send queue in packets, and the bridge that it is a port of. CAP_NET_ADMIN.
---
---    core.link.set { "eth0", up = true, mtu = 1400 }
---@param o { name: string, rename?: string, up?: boolean, mac?: string, mtu?: integer, queue?: integer, bridge?: string }
---@return true|nil ok, string? message, integer? errno
function core.link.set(o) end

---Make a device that needs no other, in this network namespace, which must not be the host's. CAP_NET_ADMIN.
---@param o { name: string, kind: "bridge"|"dummy" }
---@return true|nil ok, string? message, integer? errno
function core.link.add(o) end

---@class caisson.core.Link
---@field name string
---@field index integer
---@field up boolean
---@field mtu integer      bytes
---@field queue integer    packets
---@field mac? string      "02:42:0a:00:00:02"
---@field kind? string     "veth", "bridge", "macvlan", …; a physical device has none
---@field bridge? string   that it is a port of
---@field hairpin? boolean of a bridge's port
---@field parent? integer  the number of the device below it, or of a cable's other end, maybe in another namespace

---The devices of this process's network namespace. No privilege.
---@return caisson.core.Link[]|nil links, string? message, integer? errno
function core.link.list() end

---Can a device be called so? 1 to 15 printable bytes, no / : % * or space.
---@param name string
---@return boolean
function core.link.is_name(name) end

---Is it a hardware address, such as 02:42:0a:00:00:02?
---@param text string
---@return boolean
function core.link.is_mac(text) end

---Have a process's network namespace live on as the file, which is there: a mount, until release(). Root's alone. mount(2)
---@param pid integer
---@param path string
---@return true? ok, string? message, integer? errno
function core.link.hold(pid, path) end

---@param path string
---@return true? ok, string? message, integer? errno
function core.link.release(path) end

---Bring a device back that link.move has moved into the namespace. moved: what its slot held, in hexadecimal digits; without
---it is looked for by name. `ENODEV`: it is not there any more, or what has its number is another one.
---@param o { netns: integer|caisson.core.Fd, device: string, name?: string, moved?: string, addresses?: string[] }
---@return true? ok, string? message, integer? errno
function core.link.give_back(o) end

core.address = {}

---Give a device of this network namespace, which must not be the host's, an address. An IPv6 address is usable at once
---(no duplicate address detection). CAP_NET_ADMIN. ip-address(8)
---
---    core.address.add { "10.0.0.2/24", dev = "eth0" }
---@param o { address: string, dev: string } with the length of the network's prefix
---@return true|nil ok, string? message, integer? errno
function core.address.add(o) end

---@class caisson.core.Address
---@field address string   "10.0.0.2/24"
---@field dev string       the device's name
---@field index integer    its number
---@field family "inet"|"inet6"
---@field global boolean   not a link's or a host's own
---@field permanent boolean  nobody has lent it for a time
---@field broadcast? string

---The addresses in this process's network namespace. No privilege.
---@return caisson.core.Address[]|nil addresses, string? message, integer? errno
function core.address.list() end

---Read an address, strictly: no leading zeros, no missing parts, no names. nil where it is none.
---@param text string "10.0.0.2", "fd00::2/64"
---@return { family: "inet"|"inet6", address: string, prefix?: integer }|nil
function core.address.parse(text) end

core.route = {}

---Add a route to this network namespace, which must not be the host's. One of via (a gateway) and dev is needed. The device
---has to be up. CAP_NET_ADMIN. ip-route(8)
---
---    core.route.add { "default", via = "10.0.0.1", dev = "eth0", metric = 100 }
---@param o { to: string, via?: string, dev?: string, metric?: integer, source?: string, onlink?: boolean } to: "default", a network or an address; onlink: the gateway is there though no route leads to it
---@return true|nil ok, string? message, integer? errno
function core.route.add(o) end

---@class caisson.core.Route
---@field to string        "default" or "10.1.0.0/16"
---@field via? string
---@field dev? string
---@field metric? integer
---@field source? string
---@field family "inet"|"inet6"
---@field table integer    254: main, 255: local
---@field unicast boolean  neither local, broadcast nor multicast

---The routes of this process's network namespace, of every table. No privilege.
---@return caisson.core.Route[]|nil routes, string? message, integer? errno
function core.route.list() end

core.netlink = {}

---The messages of an rtnetlink datagram: links, addresses, routes, errors, the end of a list. Whatever the bytes are,
---lengths in them are not believed. No privilege.
---@param bytes string
---@return table[]|nil messages, string? message, integer? errno EBADMSG
function core.netlink.decode(bytes) end
