-- Groups that are systemd's to make: the recipe option
--
--   cgroup = { driver = "systemd", slice = "machine.slice", scope = "box-*", memory = { max = "64M" } }
--
-- Each container gets a transient scope; the limits are told to systemd, which would else put back what it takes for
-- right, and are then written to the group's files, since systemd knows fewer and rounds some.
local M = {}

-- What a unit's name may be made of (unit_name_is_valid() of systemd.unit(5)'s implementation), and its length.
local valid, longest = "^[%w:_.\\@-]+$", 255

---A name of systemd's, with all that one can't have as \xNN.
---@param text string
---@return string
function M.escape(text)
  return (text:gsub("[^%w:_.\\-]", function(c) return ("\\x%02x"):format(c:byte()) end))
end

local function check_unit(name, suffix)
  if type(name) ~= "string" then return nil, "string expected, got " .. type(name) end
  if name:sub(-#suffix) ~= suffix or #name == #suffix then
    return nil, ("'%s': a name with %s at its end expected"):format(name, suffix)
  end
  local plain = suffix == ".scope" and name:gsub("%*", "") or name
  if not plain:find(valid) then
    return nil, ("'%s': letters, digits and :_.\\@- expected (systemd-escape makes such a name)"):format(name)
  end
  if #name > longest - 16 then return nil, ("a name of more than %d bytes"):format(longest - 16) end
  return true
end

---Is it the name of a slice? "a-b.slice" is one in "a.slice"; "-.slice" is the root of all.
---@param name string
---@return true? ok, string? message
function M.check_slice(name)
  local ok, message = check_unit(name, ".slice")
  if not ok then return nil, message end
  local stem = name:sub(1, -7)
  if stem ~= "-" and (stem:find("^%-") or stem:find("%-$") or stem:find("--", 1, true)) then
    return nil, ("'%s': names between single dashes expected, as in a-b.slice"):format(name)
  end
  return true
end

---Is it the name of a scope? One "*" in it stands for 16 digits of the run's own.
---@param name string
---@return true? ok, string? message
function M.check_scope(name)
  local ok, message = check_unit(name, ".scope")
  if ok and select(2, name:gsub("%*", "")) > 1 then return nil, ("'%s': one * at most"):format(name) end
  return ok, message
end

---What `linux.cgroupsPath` is where systemd is to make the group: "slice:prefix:name". Without a slice it is systemd's own
---choice, without a prefix the scope is called after the name alone.
---@param text string
---@return { driver: "systemd", slice?: string, scope: string }? option, string? message  for a recipe's `cgroup`
function M.parse_cgroups_path(text)
  local slice, prefix, name = tostring(text):match("^([^:]*):([^:]*):([^:]*)$")
  if not slice then
    return nil, ("'%s': slice:prefix:name expected, as systemd is to make the group"):format(tostring(text))
  end
  if name == "" then return nil, ("'%s': the name behind the second colon is empty"):format(text) end
  if name:find("%.slice$") then return nil, ("'%s': a slice holds no processes: the name of a scope expected"):format(text) end
  if slice == "-" then slice = "-.slice" end
  local option = { driver = "systemd", slice = slice ~= "" and slice or nil }
  local ok, message
  if option.slice then
    ok, message = M.check_slice(option.slice)
    if not ok then return nil, message end
  end
  option.scope = M.escape((prefix ~= "" and prefix .. "-" or "") .. (name:gsub("%.scope$", ""))) .. ".scope"
  ok, message = M.check_scope(option.scope)
  if not ok then return nil, message end
  return option
end

return M
