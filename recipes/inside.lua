-- inside: look around inside a sandbox, with hooks reporting from both sides.
local caisson = require "caisson"

local script = [=[
row() { printf '  %-14s %s\n' "$1" "$2"; }
status() { sed -n "s/^$1:[[:space:]]*//p" /proc/self/status | tr '\t' ' '; }
row pid "$$ of $(ls -d /proc/[0-9]* | wc -l) processes"
row user "$(id -u):$(id -g), uid map $(tr -s ' ' </proc/self/uid_map)"
row root "$(ls / | tr '\n' ' ')"
row mounts "$(wc -l </proc/self/mountinfo), of these read-only: $(cut -d' ' -f6 /proc/self/mountinfo | grep -c '^ro')"
row writable "$(cut -d' ' -f5,6 /proc/self/mountinfo | sed -n 's/ rw.*//p' | tr '\n' ' ')"
row network "$(sed -n 's/^ *\([a-z0-9]*\):.*/\1/p' /proc/net/dev | tr '\n' ' ')"
row capabilities "effective $(status CapEff), bounding $(status CapBnd)"
row no_new_privs "$(status NoNewPrivs)"
row seccomp "mode $(status Seccomp), $(status Seccomp_filters) filter(s)"
row limits "$(ulimit -n) files, core $(ulimit -c)"
row "write /usr" "$(touch /usr/x 2>&1 | sed 's/.*: //')"
row "write /tmp" "$(touch /tmp/x && echo done)"
]=]

local function say(...)
  io.stdout:write(("%s\n"):format(string.format(...)))
  io.stdout:flush() -- the program inside writes to the same place
end

return caisson.recipe {
  summary = "Look around inside a sandbox, with hooks reporting from both sides",
  extends = "sandbox",
  args = { "/bin/sh", "-c", script },
  hooks = {
    createRuntime = function(state)
      say("out here: the container is process %d; its root is mounted", state.pid)
    end,
    startContainer = function()
      local name = io.open("/proc/sys/kernel/hostname"):read("*l")
      say("in there: host name '%s', process %d", name, caisson.core.identity().pid)
    end,
    poststop = function() say "out here: it is gone" end,
  },
}
