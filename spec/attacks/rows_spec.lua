-- Which spec makes which attack: every published escape that we know of, by its number. A row names a file and a part
-- of a title in there, which must be there; or says why there is nothing to attack. Those with OCI in their second
-- column are made with bundles, through caisson-oci; a peer can be tried with them (spec/support/attacks.lua).
local t = require "support"

local rows = {
  { "CVE-2016-3697", "a numeric user name of the image's passwd is uid 0",
    { "attacks/exec", "is the user by number, whatever the image's passwd says" }, { "attacks/recipes", "has no user by name" } },
  { "CVE-2016-9962", "who joins can be traced, its descriptors taken",
    { "attacks/exec", "gives the one who joins a container to nobody" }, { "kernel/join_hostile", "gets no one that has not dropped" },
    { "long/attacks_exec", "500 that join" } },
  { "CVE-2016-8649", "a descriptor of the host's is inherited", { "attacks/exec", "descriptors of the caller's are not the program's" },
    { "long/traps", "passes on no descriptor but those listed" } },
  { "CVE-2016-10124, CVE-2017-5226", "TIOCSTI into the caller's terminal", { "attacks/exec", "writes nothing into its caller's terminal" } },
  { "CVE-2019-7303", "a filter compares 32 bits of 64", { "attacks/exec", "writes nothing into its caller's terminal" },
    { "kernel/seccomp", "can't slip TIOCSTI past the default policy" } },
  { "CVE-2016-8659, CVE-2020-5291, CVE-2026-41163", "a set-user-ID program is traced while it sets up",
    { "attacks/exec", "does nothing where it was made set-user-ID" }, { "kernel/namespace", "makes the joining process undumpable" } },
  { "CVE-2017-5985, CVE-2018-6556, CVE-2022-47952, CVE-2026-39402", "a set-user-ID helper for networks opens its caller's paths",
    { "attacks/recipes", "joins no namespace of another user's" } }, -- there is no such helper
  { "CVE-2019-5736", "the runtime's program is overwritten by /proc/PID/exe",
    { "attacks/exec", "is not changed by a container that opens who joins it" }, { "attacks/exec", "is not changed by an image whose entry point" },
    { "attacks/recipes", "with the pid namespace of one that may trace" }, { "kernel/coverage_container", "can't be changed by who has it open" } },
  { "CVE-2019-16884", "a volume over /proc takes the label", { "attacks/places", "are not what is written to where there is" },
    { "kernel/procfs", "is what is written to, whatever the image has" } },
  { "CVE-2019-19921, CVE-2023-27561, CVE-2023-28642, CVE-2025-54867", "/proc is the image's symlink",
    { "attacks/places", "that are no directories are refused" }, { "kernel/filesystem", "refuses a target that is, or lies behind, a symlink" } },
  { "CVE-2019-18837, CVE-2024-45310, CVE-2026-87766", "targets of mounts are made through symlinks",
    { "attacks/paths", "lead no mount, device or mask out of it" }, { "attacks/paths", "lead no mount out of it at the path's end" },
    { "kernel/path", "stay inside" }, { "support/races", "leads no" } },
  { "CVE-2021-30465", "a target is exchanged with a symlink", { "support/races", "out of a shared volume" }, { "long/race", "never leads out of the root" } },
  { "CVE-2021-43784", "a length overflows", { "attacks/fuzz", "is an error or exact" } },
  { "CVE-2022-0185", "new filesystem contexts in a user namespace", { "attacks/recipes", "has none of the calls that escapes begin with" } },
  { "CVE-2022-0492", "release_agent of cgroup v1", { "attacks/exec", "gets no rights over the host's cgroups" },
    { "attacks/recipes", "has none of the calls that escapes begin with" } },
  { "CVE-2022-24769, CVE-2022-27650, CVE-2022-29162", "inheritable capabilities", { "attacks/exec", "has no capabilities that it could hand on" },
    { "kernel/capability", "keep the inheritable set empty" } },
  { "CVE-2023-25809", "the cgroups below a read-only /sys can be written", { "attacks/places", "have nothing of the cgroups to write to" } },
  { "CVE-2024-21626", "the working directory is a descriptor of the host's", { "attacks/exec", "that is a descriptor of the host's leads nowhere" },
    { "attacks/exec", "that is one is refused to those who join" }, { "support/races", "leads nobody into the caller's directories" } },
  { "CVE-2024-42472", "a bind's source is a symlink", { "kernel/config", "refuses a source that is a symlink" }, { "support/races", "is no source where the recipe wants none" } },
  { "CVE-2025-31133, CVE-2025-62161, CVE-2026-88265", "/dev/null is replaced", { "attacks/places", "whose null is another thing is no mask" },
    { "attacks/places", "is no place for the devices of a process" }, { "support/races", "makes no mask or stdio" }, { "kernel/root", "takes only the null device for one" } },
  { "CVE-2025-52565, CVE-2026-88264", "/dev/console and /dev/pts/N are replaced", { "attacks/places", "leads no terminal's files out" },
    { "support/races", "leads no terminal's console out" }, { "kernel/config", "goes nowhere where the image has a symlink in its place" } },
  { "CVE-2025-52881, CVE-2025-62596, CVE-2025-65105", "writes to procfs are led elsewhere", { "attacks/places", "are not what is written to where there is" },
    { "support/races", "leads no setting of its own into another file" }, { "kernel/procfs", "is refused as a fake" } },
  { "CVE-2025-24965, CVE-2026-84042, CVE-2026-47766, CVE-2026-41579", "/dev is the image's symlink", { "attacks/places", "that is a symlink leads nothing out" } },
  { "CVE-2026-30892", "a user's text is taken for uid 0", { "attacks/exec", "is the user by number, whatever" } },
  { "CVE-2026-115521", "read-only is set by way of the image's /proc", { "attacks/places", "do not decide whether the root is read-only" } },
  { "CVE-2026-119101, CVE-2026-115520, CVE-2026-119614", "destinations of mounts confuse a restore", { "attacks/fuzz", "is an error or exact" } },
  { "runc 1.5.2, crun 1.28", "a group beside the container's", { "attacks/exec", "is below its own, not beside it" }, { "attacks/exec", "leads nowhere by .. in its path" },
    { "attacks/recipes", "has its group below its own" }, { "kernel/cgroup_group", "never outside" } },
  { "CVE-2025-23266", "a hook gets the container's environment", { "attacks/exec", "have their own environment alone" }, { "kernel/hooks", "only their own environment" },
    { "kernel/hooks", "that are commands run in /" } },
  { "CVE-2024-0132, CVE-2024-0133, CVE-2024-1753", "a source inside an image is a symlink", { "support/races", "is no source where the recipe wants none" },
    { "attacks/paths", "are no masks' and read-only paths' targets" } }, -- no source is looked for in an image but by a bind, whose path is the host's
  { "CVE-2024-28185, CVE-2024-28189", "the host's own files are written through a sandbox's symlinks", { "kernel/pool", "stays in the container, whatever links say" },
    { "kernel/pool", "removes a file or a tree, and follows no link" } },
  { "nsjail's PR 325 and 323", "a symlink at a target's end, and in the log's place", { "attacks/paths", "lead no mount out of it at the path's end" },
    { "attacks/exec", "are not written through a symlink" } },
  { "the kernel's short bpf_attr", "BPF_PROG_QUERY writes behind it", { "kernel/cgroup_device", "with a union bpf_attr longer than any kernel's" } },
  { "openat2 answering ENOSYS", "no way back", { "kernel/path", "openat2 answering ENOSYS" }, { "long/race", "openat2 answering ENOSYS" } },
  { "devices", "a node of the image's, or a new one, is the host's disk", { "attacks/exec", "has no devices but those it was given" },
    { "kernel/cgroup_device", "allow the defaults and nothing else" } },
}

describe("the attack of", function()
  for _, row in ipairs(rows) do
    it(row[1] .. ", " .. row[2] .. ", is made by a spec", function()
      assert.truthy(#row > 2)
      for i = 3, #row do
        local path = "spec/" .. row[i][1] .. (row[i][1]:find "^support/" and ".lua" or "_spec.lua")
        local text = t.read_file(path) or error("there is no " .. path)
        assert.truthy(text:find(row[i][2], 1, true), path .. ": " .. row[i][2])
      end
    end)
  end
end)
