-- For specs that run where systemd is pid 1 (spec/systemd): an ordinary user's manager, and programs that are its.
local t = require "support"
local assert = require "luassert"

local M = { uid = 54321, runtime = "/run/user/54321" }

-- As user@.service wants them, but for PAM and the login manager, which would be needed to make no more than this
-- directory; and without the default dependencies, which are the rest of a boot (one thing it does is empty /tmp).
local drop_ins = {
  ["user-runtime-dir@54321.service"] = "[Unit]\nDefaultDependencies=no\n[Service]\nExecStart=\nExecStop=\n" ..
    "ExecStart=install -d -m 700 -o %i -g %i " .. M.runtime .. "\n",
  ["user@54321.service"] = "[Unit]\nDefaultDependencies=no\n[Service]\nPAMName=\nEnvironment=XDG_RUNTIME_DIR=" ..
    M.runtime .. "\n",
}

function M.write(path, ...)
  local f = assert(io.open(path, "w"))
  assert(f:write(...))
  f:close()
end

-- The command of a user who is not in his manager's tree, but knows of it.
M.as_user = "setpriv --reuid=54321 --regid=54321 --clear-groups env XDG_RUNTIME_DIR=" .. M.runtime .. " "

-- A copy of what the user needs to run programs with the library; his manager started.
function M.setup()
  M.tree = t.sh("d=$(mktemp -d) && cp -r lua recipes $d && mkdir $d/build && cp -r build/caisson* $d/build && " ..
    "chown -R 54321:54321 $d && chmod 755 $d && printf %s $d")
  for unit, text in pairs(drop_ins) do
    t.sh("mkdir -p /run/systemd/system/" .. unit .. ".d")
    M.write("/run/systemd/system/" .. unit .. ".d/caisson-spec.conf", text)
  end
  assert.equal("", t.sh("mkdir -p /run/systemd/user; { systemctl daemon-reload && systemctl start user@54321; } 2>&1"))
end

function M.teardown()
  t.sh("systemctl stop user@54321; rm -rf /run/systemd/system/user*@54321.service.d; systemctl daemon-reload")
  t.sh("rm -rf " .. M.tree)
end

-- The message bus, over which a user's systemd has the system's move processes. Returns what stops it again.
function M.bus()
  for _, unit in ipairs { "dbus.socket", "dbus.service" } do
    t.sh(("mkdir -p /run/systemd/system/%s.d"):format(unit))
    M.write(("/run/systemd/system/%s.d/caisson-spec.conf"):format(unit), "[Unit]\nDefaultDependencies=no\n")
  end
  assert.equal("", t.sh("{ systemctl daemon-reload && systemctl start dbus; } 2>&1"))
  return function()
    t.sh("systemctl stop dbus.socket dbus; rm -r /run/systemd/system/dbus.*.d; systemctl daemon-reload")
  end
end

-- The command that runs this Lua code.
function M.program(code)
  local path = M.tree .. "/code.lua"
  M.write(path, ("package.path = %q .. package.path\npackage.cpath = %q .. package.cpath\n"):format(
    M.tree .. "/lua/?.lua;" .. M.tree .. "/lua/?/init.lua;", M.tree .. "/build/?.so;"), code)
  return t.core.realpath("/proc/self/exe") .. " " .. path
end

-- A command as a service of this systemd, or of a user's (`manager`); what it prints.
function M.start(directory, manager, section, command)
  local unit, out = "caisson-spec.service", M.tree .. "/out"
  t.sh(("install -o 54321 -g 54321 /dev/null %s"):format(out))
  M.write(directory .. "/" .. unit, "[Unit]\nDefaultDependencies=no\n[Service]\nType=oneshot\nStandardOutput=truncate:", out,
    "\nStandardError=inherit\n", section, "\nExecStart=", command, "\n")
  local said = t.sh(("exec 2>&1; %s daemon-reload; %s start %s; rm %s/%s"):format(manager, manager, unit, directory, unit))
  return (t.read_file(out) or "") .. said
end

function M.user_service(section, command)
  return M.start("/run/systemd/user", M.as_user .. "systemctl --user", section, command)
end

return M
