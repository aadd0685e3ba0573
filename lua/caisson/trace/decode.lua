-- System calls as text: openat(AT_FDCWD, "/etc/x", O_RDONLY|O_CLOEXEC). What pointers lead to is read where the call
-- can be asked: one of a tracer's or of a listener's (caisson.trace.Call), or a table with a function of its own.
local constants = require "caisson.trace.constants"
local signature = require "caisson.trace.signatures"
local u64 = require "caisson.u64"

local M = {}

local SHOWN = 32 -- bytes of data

-- ---- numbers ----

local function low(v)
  if type(v) == "number" then return v % 4294967296 end
  return u64.parse(v)[2]
end

local function int(v)
  v = low(v)
  return v >= 2147483648 and v - 4294967296 or v
end

local function plain(v) return type(v) == "number" and ("%.0f"):format(v) or v end

local function hex(v)
  if type(v) == "number" and v < 0 then -- two's complement
    if v < -2147483648 then return ("%.0f"):format(v) end
    return ("0xffffffff%08x"):format(v % 4294967296)
  end
  return v == 0 and "0" or u64.text(u64.parse(v))
end

local function pointer(v) return v == 0 and "NULL" or hex(v) end

local function has(v, bits) return u64.band32(v, bits) == bits end

-- ---- constants ----

local function one(family, v)
  local _, names = constants.family(family)
  return names[low(v)]
end

-- Flags of one or several families; what has no name is left as a number. nil: 0, and no name for that.
local function flags(families, v)
  local left, out = low(v), {}
  for family in families:gmatch "[%w_]+" do
    local list, names = constants.family(family)
    if left == 0 and #out == 0 and names[0] then return names[0] end
    for _, c in ipairs(list) do
      if c[2] ~= 0 and c[2] < 4294967296 and has(left, c[2]) then
        out[#out + 1] = c[1]
        left = left - c[2]
      end
    end
  end
  if left ~= 0 then out[#out + 1] = ("0x%x"):format(left) end
  return #out > 0 and table.concat(out, "|") or nil
end

local directions = { [0] = "_IOC_NONE", "_IOC_WRITE", "_IOC_READ", "_IOC_READ|_IOC_WRITE" }

local named = {} -- constants that are more than a word or flags

function named.ioctl(v)
  local name = one("ioctl", v)
  if name then return name end
  v = low(v)
  return ("_IOC(%s, 0x%x, 0x%x, 0x%x)"):format(directions[math.floor(v / 2 ^ 30)], math.floor(v / 256) % 256, v % 256,
    math.floor(v / 65536) % 16384)
end

function named.futex(v)
  v = low(v)
  local command = v % 128
  local name = one("futex", command)
  if not name then return nil end
  return name .. (has(v, 128) and "_PRIVATE" or "") .. (has(v, 256) and "|FUTEX_CLOCK_REALTIME" or "")
end

function named.socktype(v)
  v = low(v)
  local name = one("socktype", v % 16)
  if not name then return nil end
  local rest = flags("sockflags", v - v % 16)
  return rest and name .. "|" .. rest or name
end

function named.open(v)
  v = low(v)
  local rest = flags("open", v - v % 4)
  local access = ({ [0] = "O_RDONLY", "O_WRONLY", "O_RDWR", "O_ACCMODE" })[v % 4]
  return rest and access .. "|" .. rest or access
end

function named.prot(v) return low(v) == 0 and "PROT_NONE" or flags("prot", v) end

function named.clone(v)
  v = low(v)
  local rest, signal = flags("clone", v - v % 256), v % 256
  if signal == 0 then return rest end
  signal = one("signal", signal) or tostring(signal)
  return rest and rest .. "|" .. signal or signal
end

function named.mount(v)
  v = low(v)
  if v - v % 65536 == 0xc0ed0000 then v = v % 65536 end -- MS_MGC_VAL
  return flags("mount", v)
end

-- Flags as open's, but of what is no open file: no O_RDONLY.
local descriptors = { dup3 = true, pipe2 = true, memfd_secret = true, delete_module = true }

local function constant(word, v, name)
  local kind, family = word:match "^([=|])(.*)$"
  if not kind then return nil end
  if family == "open" and descriptors[name] then return flags("open", v) end
  if named[family] then return named[family](v) end
  if kind == "=" then return one(family, v) end
  return flags(family, v)
end

-- ---- memory ----

local function memory(call, address, size)
  if type(address) == "number" and address <= 0 then return nil end
  if call.read then return (call.read(address, size)) end
  if call.tid then return (require("caisson.core").ptrace.read(call.tid, address, size)) end
end

local function string_at(call, i)
  local v = call.args[i]
  if v == 0 then return nil end
  if call.read then
    local s = memory(call, v, 4096)
    return s and s:match "^([^%z]*)%z"
  end
  return call.string and (call:string(i))
end

local function data_at(call, i, size)
  if call.read then return memory(call, call.args[i], size) end
  return call.bytes and (call:bytes(i, size))
end

local escapes = { ["\n"] = "\\n", ["\t"] = "\\t", ["\r"] = "\\r", ["\v"] = "\\v", ["\f"] = "\\f", ['"'] = '\\"',
  ["\\"] = "\\\\" }

local function quote(s, cut)
  local out = (s:gsub('[%c"\\\127-\255]', function(c) return escapes[c] or ("\\x%02x"):format(c:byte()) end))
  return '"' .. out .. (cut and '"...' or '"')
end

M.quote = quote

local function number_at(bytes, from, size)
  local v = 0
  for k = from + size - 1, from, -1 do v = v * 256 + bytes:byte(k) end
  return v
end

-- ---- what is behind a pointer ----

local function ip4(b, from) return ("%d.%d.%d.%d"):format(b:byte(from, from + 3)) end

-- The text of a socket's address, from its bytes | nil: none.
---@param b string
---@return string|nil
function M.address(b)
  if #b < 2 then return nil end
  local family = b:byte(1) + b:byte(2) * 256
  local name = one("family", family) or tostring(family)
  local port = #b >= 4 and b:byte(3) * 256 + b:byte(4)
  if name == "AF_UNIX" then
    if #b <= 2 then return "{sa_family=AF_UNIX}" end
    if b:byte(3) == 0 then return "{sa_family=AF_UNIX, sun_path=@" .. quote(b:sub(4)) .. "}" end
    return "{sa_family=AF_UNIX, sun_path=" .. quote(b:match("^[^%z]*", 3)) .. "}"
  elseif name == "AF_INET" and #b >= 8 then
    return ('{sa_family=AF_INET, sin_port=htons(%d), sin_addr=inet_addr("%s")}'):format(port, ip4(b, 5))
  elseif name == "AF_INET6" and #b >= 24 then
    local scope = #b >= 28 and number_at(b, 25, 4) or 0
    return ('{sa_family=AF_INET6, sin6_port=htons(%d), sin6_flowinfo=htonl(%d), inet_pton(AF_INET6, "%s", &sin6_addr), '
      .. "sin6_scope_id=%d}"):format(port, ((b:byte(5) * 256 + b:byte(6)) * 256 + b:byte(7)) * 256 + b:byte(8),
      require("caisson.trace.call").ipv6(b, 9), scope)
  elseif name == "AF_NETLINK" and #b >= 12 then
    local groups = number_at(b, 9, 4)
    return ("{sa_family=AF_NETLINK, nl_pid=%d, nl_groups=%s}"):format(number_at(b, 5, 4),
      groups == 0 and "00000000" or ("0x%06x"):format(groups))
  end
  return "{sa_family=" .. name .. (#b > 2 and ", sa_data=" .. quote(b:sub(3, 16)) or "") .. "}"
end

local function list_at(call, v)
  local items = {}
  for k = 0, 31 do
    local p = memory(call, v + 8 * k, 8)
    if not p or #p < 8 then return nil end
    local at = number_at(p, 1, 8)
    if at == 0 then return "[" .. table.concat(items, ", ") .. "]" end
    local s = memory(call, at, 256)
    if not s then return nil end
    local text = s:match "^([^%z]*)%z"
    items[#items + 1] = quote((text or s):sub(1, 128), not text or #text > 128)
  end
  return "[" .. table.concat(items, ", ") .. ", ...]"
end

local kinds = {}

function kinds.d(_, v) return tostring(int(v)) end
kinds.fd = kinds.d
function kinds.u(_, v) return type(v) == "number" and v < 0 and hex(v) or plain(v) end
function kinds.x(_, v) return hex(v) end
function kinds.o(_, v)
  v = low(v)
  return v == 0 and "000" or v < 512 and ("0%03o"):format(v):gsub("^00(%d%d%d)$", "0%1") or ("0%o"):format(v)
end
function kinds.p(_, v) return pointer(v) end
function kinds.at(_, v)
  v = int(v)
  return v == -100 and "AT_FDCWD" or tostring(v)
end
function kinds.sig(_, v) return one("signal", v) or tostring(int(v)) end

function kinds.str(call, v, i)
  local s = string_at(call, i)
  return s and quote(s:sub(1, 256), #s > 256) or pointer(v)
end

function kinds.path(call, v, i)
  local s = string_at(call, i)
  return s and quote(s) or pointer(v)
end

function kinds.data(call, v, i)
  local size = tonumber(call.args[i + 1])
  local b = size >= 0 and data_at(call, i, math.min(size, SHOWN))
  return b and quote(b, size > SHOWN) or pointer(v)
end

function kinds.addr(call, v, i)
  local size = int(call.args[i + 1])
  local b = size >= 2 and size <= 128 and data_at(call, i, size)
  return b and M.address(b) or pointer(v)
end

function kinds.strs(call, v)
  return type(v) == "number" and v > 0 and list_at(call, v) or pointer(v)
end

function kinds.how(call, v, i)
  local b = data_at(call, i, 24)
  if not b or #b < 24 then return pointer(v) end
  local mode, resolve = number_at(b, 9, 8), number_at(b, 17, 4)
  return ("{flags=%s%s, resolve=%s}"):format(named.open(number_at(b, 1, 4)),
    mode ~= 0 and (", mode=0%o"):format(mode) or "", flags("resolve", resolve) or "0")
end

function kinds.args(call, v, i)
  local b = data_at(call, i, 64)
  if not b or #b < 64 then return pointer(v) end
  local signal = number_at(b, 33, 4)
  local text = flags("clone clone3", number_at(b, 1, 4)) or "0"
  for _, c in ipairs((constants.family "clone3")) do
    if c[2] >= 4294967296 and has(number_at(b, 5, 4), c[2] / 4294967296) then text = text .. "|" .. c[1] end
  end
  return ("{flags=%s, exit_signal=%s}"):format(text, signal == 0 and "0" or one("signal", signal) or tostring(signal))
end

-- ---- calls whose arguments depend on each other: the words that hold for this one ----

local special = {}

local function without_mode(words, at)
  return function(call)
    local v = low(call.args[at])
    local _, names = constants.family "open"
    local tmpfile
    for value, name in pairs(names) do if name == "O_TMPFILE" then tmpfile = value end end
    if has(v, 64) or tmpfile and has(v, tmpfile) then return words end
    local shorter = {}
    for k = 1, at do shorter[k] = words[k] end
    return shorter
  end
end

special.open = without_mode({ "path", "|open", "o" }, 2)
special.openat = without_mode({ "at", "path", "|open", "o" }, 3)
special.mq_open = without_mode({ "str", "|open", "o", "p" }, 2)

local function protocol(call)
  local family = one("family", call.args[1])
  local third = "d"
  if family == "AF_INET" or family == "AF_INET6" then third = "=ipproto" end
  if family == "AF_NETLINK" then third = "=netlink" end
  return { "=family", "|socktype", third, call.name == "socketpair" and "p" or nil }
end
special.socket, special.socketpair = protocol, protocol

local fcntls = { F_GETFD = "", F_GETFL = "", F_GETOWN = "", F_GETSIG = "", F_GETLEASE = "", F_GETPIPE_SZ = "", F_GET_SEALS = "",
  F_SETFD = "|fdflags", F_SETFL = "|open", F_DUPFD = "d", F_DUPFD_CLOEXEC = "d", F_SETOWN = "d", F_SETSIG = "sig",
  F_ADD_SEALS = "|seal", F_SETPIPE_SZ = "d" }

function special.fcntl(call)
  local third = fcntls[one("fcntl", call.args[2]) or 0] or "p"
  return { "fd", "=fcntl", third ~= "" and third or nil }
end

local prctls = { SET_NAME = "str", GET_NAME = "p", SET_PDEATHSIG = "sig", GET_PDEATHSIG = "p", SET_DUMPABLE = "=dumpable",
  SET_SECCOMP = "=seccomp_mode p", GET_SECCOMP = "", GET_DUMPABLE = "", GET_KEEPCAPS = "", SET_KEEPCAPS = "d",
  CAPBSET_READ = "=cap", CAPBSET_DROP = "=cap", SET_NO_NEW_PRIVS = "d d d d", GET_NO_NEW_PRIVS = "d d d d",
  CAP_AMBIENT = "=ambient =cap d d", SET_CHILD_SUBREAPER = "d", GET_CHILD_SUBREAPER = "p", SET_PTRACER = "d",
  GET_SECUREBITS = "", SET_SECUREBITS = "x", SET_TIMERSLACK = "d", GET_TIMERSLACK = "", SET_THP_DISABLE = "d d d d",
  SET_MM = "d p d d", SET_VMA = "d p u str" }

function special.prctl(call)
  local list, name = { "=prctl" }, one("prctl", call.args[1])
  local words = name and prctls[name:sub(4)] or "x x x x"
  for word in words:gmatch "%S+" do list[#list + 1] = word end
  return list
end

special["keyctl"] = function() return { "=keyctl", "x", "x", "x", "x" } end

function special.futex(call)
  local command = low(call.args[2]) % 128
  if command == 1 then return { "p", "=futex", "d" } end -- FUTEX_WAKE
  if command == 0 then return { "p", "=futex", "d", "p" } end
end

-- ---- the whole ----

local function words_of(call)
  return special[call.name] and special[call.name](call) or signature(call.name)
end

local function argument(call, word, i)
  local v = call.args[i]
  if kinds[word] then return (kinds[word](call, v, i)) end
  local text = constant(word, v, call.name)
  if text then return text end
  if word:sub(1, 1) == "=" then return tostring(int(v)) end
  return low(v) == 0 and "0" or ("0x%x"):format(low(v))
end

-- The call as text. call: of a tracer or of a listener; or { name =, args = { six numbers, one beyond 2^53 as decimal
-- text }, read = function(address, size) -> bytes or nil }. Without a way to read, and where memory can't be read, a
-- pointer is a number.
---@param call caisson.trace.Call|table
---@return string
function M.call(call)
  local words, out = words_of(call), {}
  for i, word in ipairs(words or {}) do out[i] = argument(call, word, i) end
  if not words then
    local last = 6
    while last > 0 and call.args[last] == 0 do last = last - 1 end
    for i = 1, last do out[i] = hex(call.args[i]) end
  end
  return ("%s(%s)"):format(call.name, table.concat(out, ", "))
end

-- What an argument's value is called: "AF_UNIX" for value("socket", 1, 1). nil: it is no constant, or one without a name.
-- args: the others, where what it is depends on them.
---@param name string   of the call
---@param index integer  from 1
---@param value number|string
---@param args? (number|string)[]
---@return string|nil
function M.value(name, index, value, args)
  local words = args and words_of { name = name, args = args } or signature(name)
  local word = words and words[index]
  if not word then return nil end
  if word == "sig" then return one("signal", value) end
  if word == "at" then return int(value) == -100 and "AT_FDCWD" or nil end
  return constant(word, value, name)
end

-- The family of constants that an argument is of, and whether it is flags | nil: no constant.
---@param name string
---@param index integer
---@return string|nil family, boolean? flags
function M.family(name, index)
  local word = (signature(name) or {})[index]
  local kind, family = (word or ""):match "^([=|])(.*)$"
  if not kind then return nil end
  return family, kind == "|"
end

return M
