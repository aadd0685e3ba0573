-- What the seed systems do, field by field, and the spec that proves that ours does: what is allowed works and what is
-- denied fails, as the kernel has it. A spec that is renamed or removed makes its rows fail here.
--
-- Each row: a name of the seeds' own, then places: a spec file (without "_spec.lua") and a part of the title of a spec in it.
-- A row with `lack` says what this kernel, or the virtual machine's, can't show, and which error is tested in its place.

local read = {}

-- The titles of a file's specs: the lines that begin one.
local function titles(file)
  if read[file] == nil then
    local f = io.open("spec/" .. file .. "_spec.lua", "r")
    local list = f and {}
    for line in (f and f:read("*a") or ""):gmatch("[^\n]+") do
      if line:find("^%s*it%(") or line:find("^%s*describe%(") then list[#list + 1] = line end
    end
    if f then f:close() end
    read[file] = list or false
  end
  return read[file]
end

local function is_there(file, part)
  for _, line in ipairs(titles(file) or {}) do
    if line:find(part, 1, true) then return true end
  end
  return false
end

local P, J, C = "kernel/process", "kernel/join", "kernel/config"
local A, F = "kernel/attributes", "kernel/forkexec"
local L, K = "kernel/lifecycle", "kernel/container"
local lsm = "no LSM with labels is in this kernel: the error that names it is tested; AppArmor in the VM"

local sections = {}

sections["A. Process"] = {
  ["Args, Env"] = { P, "has its arguments, the container's environment and its own, and a PATH" },
  ["Env: HOME"] = { P, "has the home directory of its user from /etc/passwd inside", P, "finds no home where" },
  ["UID, GID, AdditionalGroups"] = { P, "has its ids and groups, in the container's user namespace, and takes no names" },
  Cwd = { P, "starts in its directory, which is of the root", "kernel/root", "never leads out of the root, by a descriptor" },
  ["Stdin, Stdout, Stderr"] = { P, "reads and writes what the caller says", "kernel/run", "hands chunks to a function" },
  ExtraFiles = { P, "has further descriptors as 3, 4, ..., and no other", "kernel/exec", "are those that the plan names, and no other" },
  exeseal = { "kernel/coverage_container", "can't be changed by who has it open: it is sealed", "kernel/coverage_container",
    "where /proc/self/exe is what is executed", "kernel/init", "shows the host the sealed runner as its program" },
  ["ConsoleWidth, ConsoleHeight"] = { P, "has a terminal of the container's devpts, of its size" },
  ConsoleSocket = { J, "sends the terminal and a pidfd over the sockets" },
  PidfdSocket = { J, "sends the terminal and a pidfd over the sockets", P, "tells its exit code or signal, and what it used" },
  Capabilities = { P, "has five sets of capabilities, the container's where none are said", "kernel/capability", "set each of the five by itself" },
  AppArmorProfile = { J, "says which security module is missing", "vm/apparmor", "confines what is executed", lack = lsm },
  Label = { J, "says which security module is missing", "kernel/lsm", "says that SELinux is missing", lack = lsm },
  NoNewPrivileges = { P, "has no_new_privs in three states" },
  Rlimits = { P, "has its limits, all 16", A, "sets each of the 16, soft and hard, as 64-bit numbers", A, "takes max for no limit" },
  Init = { "kernel/init", "reaps orphans", "kernel/init", "hands signals on to the program", "kernel/init", "ends with the program's exit code",
    "kernel/wait", "reaps what is orphaned in the container" },
  ["LogLevel, log pipe"] = { "kernel/coverage_log", "has each step that was done, and each that was left out",
    "kernel/coverage_log", "ends with the step that it failed in", "kernel/coverage_log", "is of a joining process too" },
  SubCgroupPaths = { J, "makes a group below the container's, and refuses all that leads out of it",
    "kernel/cgroup_group", "is joined by a second process, in a group below it", "kernel/cgroup_calls", "makes no group outside of where it may" },
  Scheduler = { A, "sets the policies of every user", A, "sets realtime policies with their priority and flags",
    A, "sets deadline with runtime, deadline and period", A, "has every flag of sched_setattr(2)", P, "has its umask, personality, OOM score, nice, scheduler",
    C, "says what of it the kernel lacks", lack = "SCHED_ISO and uclamp are in no kernel here: their errors are tested" },
  IOPriority = { A, "sets class and level", P, "has its umask, personality, OOM score, nice, scheduler, I/O priority" },
  ["Wait, Pid, Signal"] = { P, "tells its exit code or signal, and what it used", P, "is an error, not an object, where it was never started",
    "kernel/engine", "returns after its time limit, and the same status" },
}

sections["B. Config"] = {
  NoPivotRoot = { C, "moves the root in place of pivoting it" },
  ParentDeathSignal = { C, "is any signal, or none", "long/traps", "when the program runs leaves nothing" },
  Rootfs = { "kernel/root", "is a directory of the host's, with flags", "kernel/root", "has its size, mode, flags and options",
    "kernel/filesystem", "may be the root" },
  Umask = { A, "is the program's, not the host's" },
  Readonlyfs = { "kernel/root", "makes the root read-only at the end" },
  RootPropagation = { C, "is that of the container's own root", "kernel/mount", "leaks nothing into the host, even from a shared tree" },
  ["Mounts: bind, recursive"] = { "kernel/mount", "takes the mounts below only where it is recursive" },
  ["Mounts: flags"] = { "kernel/mount", "sets each flag, and clears it again", "kernel/mount", "has the flags' effect" },
  ["Mounts: recursive flags"] = { "kernel/mount", "sets every recursive flag on the mounts below", "kernel/mount", "by rro, and not by ro" },
  ["Mounts: idmapped"] = { "kernel/idmapped", "shows each owner as mapped, and writes as mapped", "kernel/idmapped", "is refused to an ordinary user" },
  ["Mounts: propagation"] = { "kernel/mount", "is set per mount, as mountinfo's tags show", "kernel/mount", "is set for the whole tree by the r words" },
  ["Mounts: tmpcopyup"] = { "kernel/filesystem", "starts with what it covers, and changes to it stay its own" },
  ["Mounts: data, lazytime"] = { C, "are set: lazytime, dirsync, inode64", "kernel/filesystem", "mounts any filesystem with its options and source" },
  Devices = { "kernel/device", "makes a node where that is allowed", "kernel/device", "binds the host's where none can be made",
    "kernel/cgroup_device", "allow the recipe's own nodes by themselves" },
  NetDevices = { "kernel/network", "is a device of the host's, renamed, with its addresses, which comes back" },
  MountLabel = { C, "is SELinux's, which must be there", lack = lsm },
  ["Hostname, Domainname"] = { "kernel/uts", "set the container's names and leave the host's" },
  ["Namespaces: new"] = { "kernel/namespace", "makes all eight namespaces", "kernel/namespace", "makes each of them alone" },
  ["Namespaces: by path"] = { "kernel/namespace", "joins each by its path", "kernel/namespace", "refuses what is no namespace" },
  Capabilities = { "kernel/capability", "set each of the five by itself", "kernel/capability", "fail, naming set and capability" },
  ["Networks: loopback"] = { "kernel/sysctl", "brings lo up, which then has its addresses" },
  ["Networks: veth on a bridge"] = { "kernel/network", "is a cable to the host's bridge", "kernel/network", "reaches who is on its bridge, and nobody else" },
  Routes = { "kernel/network", "is a cable to the host's bridge, with addresses and routes" },
  ["Cgroups: path"] = { "kernel/cgroup", "can stand deeper, and all that was made for them goes", "unit/cgroup", "refuses a path that is not one of names below" },
  ["Cgroups: every resource"] = { "unit/cgroup", "has each resource of the OCI runtime specification, as each version calls it",
    "kernel/cgroup", 'it("have " .. name', "kernel/cgroup_v1", "io.max holds bytes and operations", "vm/resources", "max and swap: what does not fit" },
  ["Cgroups: systemd scope"] = { "systemd/scope", "holds a container through its life", "systemd/scope", "limits his containers, through their life",
    "kernel/systemd", "is an error that says so, before anything is made" },
  ["Cgroups: unified"] = { "vm/cgroup", "writes any file that unified names", "unit/cgroup", "takes any file of v2 under unified" },
  AppArmorProfile = { "kernel/lsm", "says that AppArmor is missing", "vm/apparmor", "confines what is executed", lack = lsm },
  ProcessLabel = { "kernel/lsm", "says that SELinux is missing", lack = lsm },
  Rlimits = { A, "sets each of the 16, soft and hard", A, "holds: a file size limit kills" },
  OomScoreAdj = { A, "is lowered by who may alone" },
  ["UIDMappings, GIDMappings"] = { "kernel/idmap", "writes 340 lines, and refuses one more", "kernel/idmap", "names the ranges that overlap",
    "kernel/idmap", "has newuidmap and newgidmap write ranges" },
  MaskPaths = { "kernel/root", "covers files with the null device and directories" },
  ReadonlyPaths = { "kernel/root", "makes a path and all mounts below it read-only" },
  Sysctl = { "kernel/sysctl", "sets what is the container's, of net, ipc and uts", "kernel/sysctl", "refuses each without a namespace",
    "kernel/sysctl", "refuses what no namespace has for its own" },
  NoNewPrivileges = { A, "no_new_privs keeps a setuid program to its user" },
  ["Version"] = { K, "waits for its start as the runner", "unit/state", "is an error if it is of a later version" },
  ["Labels"] = { C, "are told to hooks", L, "write the process id, and tell hooks of bundle and annotations" },
  NoNewKeyring = { C, "is called after the container, and can be found by who joins it", A, "is a new one without a name, each time",
    C, "has the label of its keys from SELinux", lack = "no SELinux here: the error of a labelled keyring is tested" },
  IntelRdt = { C, "is refused where the machine has none, with the reason", "unit/resctrl", "is a schema as the kernel prints it",
    lack = "no resctrl here: its error is tested" },
  MemoryPolicy = { C, "is the program's, in every mode and with every flag", C, "names nodes that are there" },
  RootlessEUID = { "kernel/idmap", "maps the caller's own ids", "kernel/idmap", "says what more than the own id takes" },
  RootlessCgroups = { "kernel/cgroup_rootless", "kill at memory.max, and live at pids.max, as for root", "kernel/cgroup_rootless", "are refused outside of it",
    "vm/delegation", "limits memory, processes and CPU of a rootless container" },
  TimeOffsets = { "kernel/namespace", "moves both clocks of the program", "kernel/namespace", "refuses bad offsets" },
  Scheduler = { A, "sets the policies of every user", A, "refuses what the kernel does, and what it would cut" },
  Personality = { A, "sets domain and flags", A, "takes away the randomness of addresses" },
  IOPriority = { A, "sets class and level" },
  ExecCPUAffinity = { "kernel/coverage_container", "is bound to the CPUs of affinity's initial, its program to the final ones", C, "is initial while the container is made, and final for the program" },
}

sections["B. Seccomp"] = {
  ["default action, errno"] = { "kernel/seccomp", "errno fails the call with its number", "unit/seccomp", "gives each call its rule's action and all others the default" },
  architectures = { "unit/seccomp", "knows the numbers of every architecture asked for", "unit/seccomp", "kills calls of an architecture that was not asked for" },
  ["flag TSYNC"] = { "kernel/seccomp", "tsync reaches threads that are there already" },
  flags = { "kernel/seccomp", "are taken where the kernel knows them", "kernel/seccomp", "are an error where it does not" },
  ["several names a rule"] = { "unit/policy", "are read as runc reads them", "unit/seccomp", "gives each call its rule's action" },
  ["Allow, Log"] = { "kernel/seccomp", "allow and log let the call happen", "kernel/seccomp", "log is told to audit" },
  ["Kill, KillThread, KillProcess"] = { "kernel/seccomp", "kill_thread ends one thread, kill_process all" },
  Trap = { "kernel/seccomp", "trap sends SIGSYS, which can be caught" },
  Trace = { "kernel/seccomp", "trace asks the tracer, with its number" },
  Notify = { "kernel/seccomp", "notify hands the call to who has the listener", "kernel/seccomp", "notify without a listener fails the call" },
  ["listener path and metadata"] = { "kernel/coverage_listener", "is sent to the agent with the state, and nobody keeps it",
    "kernel/coverage_listener", "is a joining process's too", "kernel/coverage_listener", "is an error where nobody listens" },
  ["argument operators"] = { "unit/seccomp", "compares 64 bits with", "kernel/seccomp", "are 64 bits wide in the kernel" },
}

sections["B. CPU lists"] = {
  affinity = { "kernel/affinity", "takes lists, ranges, spaces and empty elements", "kernel/affinity", "refuses what is no list, naming the fault",
    "kernel/affinity", "has no limit at 1024" },
  cpuset = { "unit/cgroup", "writes what each version calls a limit", "unit/cgroup", "refuses what is not right, naming the option",
    "kernel/cgroup_v1", "cpuset holds the program to its processors" },
  ["memory nodes"] = { C, "names nodes that are there" },
}

sections["B. Hooks"] = {
  ["six points"] = { "kernel/hooks", "run at their points, in order", "kernel/container_hooks", "run at all six points, in three processes" },
  namespaces = { "kernel/hooks", "see all eight namespaces as documented", "kernel/container_hooks", "in the right namespaces" },
  ["commands: path, args, env"] = { "kernel/hooks", "are commands too, with the state on stdin", C, "gets the default one and /, and nothing of the host's" },
  ["commands: dir"] = { "kernel/hooks", "that are commands run in their dir" },
  ["commands: timeout, output"] = { "kernel/hooks", "fail with their output, and end at their time limit with all they started" },
  functions = { "kernel/hooks", "that fail stop construction, with their traceback", "kernel/hooks", "that are functions end at their time limit" },
  ["round trip"] = { "kernel/saved", "keeps command hooks, with what they are told", "kernel/saved", "finds its functions again in its recipe" },
  ["recipe changed"] = { "kernel/container_hooks", "are not found in a recipe that has changed" },
}

-- The order and each step's own place are of one spec; what each does, of its own.
local order = "names each place where it fails, in libcontainer's order"
sections["C. setns init"] = {
  namespaces = { J, order, J, "puts the process into the container's namespaces, all of them" },
  ["session keyring"] = { J, order, P, "has a session keyring of its own" },
  console = { J, order, P, "has a terminal of the container's devpts" },
  pidfd = { J, order, J, "sends the terminal and a pidfd" },
  ["no_new_privs"] = { J, order, P, "has no_new_privs in three states" },
  ["umask, scheduler, I/O priority"] = { J, order, P, "has its umask, personality, OOM score, nice, scheduler" },
  ["ready-sync"] = { J, order, "kernel/join_hostile", "gets no one that has not dropped its privileges" },
  ["LSM label, AppArmor"] = { J, "says which security module is missing", lack = lsm },
  ["seccomp early and late"] = { J, order, P, "has a filter of system calls: its own, the container's, or none; without no_new_privs too" },
  ["credentials, capabilities"] = { J, order, P, "has its ids and groups", P, "has five sets of capabilities" },
  personality = { J, order, P, "has its umask, personality" },
  ["look up the program"] = { J, "tells a program that is not found from one that can't be executed" },
  ["close every other descriptor"] = { J, "keeps nothing of the caller", P, "has further descriptors as 3, 4, ..., and no other" },
  exec = { J, order },
  ["paused container"] = { J, "does not enter a paused container, unless told to" },
  ["CVE-2016-9962"] = { "kernel/join_hostile", "a hostile process, root of its container", "kernel/join_hostile", "gets no one that has not dropped its privileges" },
  ["CLONE_INTO_CGROUP"] = { "vm/cgroup", "puts a second program into the group of a running one", J, "puts the process into every group of the container" },
}

local places = "kernel/forkexec_places"
sections["D. Runner"] = {
  ["Args, Env"] = { F, "are the program's, to the byte" },
  ExecFile = { F, "is a descriptor, whatever its path has become, or a memfd" },
  RLimits = { F, "are in /proc/PID/limits, and stop what is above" },
  Files = { F, 'are exactly the descriptors, \\"-\\" is closed', "kernel/exec", "may stand in several places, and be swapped" },
  WorkDir = { F, "is where the program starts, of its root" },
  Seccomp = { F, "is a program as bytes, or a policy, in force at exec", "kernel/seccomp", "are loaded as they are" },
  CloneFlags = { F, "are any subset of the namespaces" },
  ["Mounts, PivotRoot"] = { F, "take the kernel's own parameters, make what leads there" },
  ["HostName, DomainName"] = { F, "are the container's" },
  ["UIDMappings, GIDMappings"] = { F, "are what /proc/PID/uid_map and gid_map say" },
  GIDMappingsEnableSetgroups = { F, "leave setgroups to those who may have it", F, "without a gid map deny setgroups, to both" },
  CgroupFd = { F, "is the cgroup that the child is born into", "vm/cgroup", "the child is born in its group" },
  Credential = { F, "is taken with groups and without" },
  SyncFunc = { F, "is called with the pid right before exec; its error ends the child" },
  Ptrace = { F, "has the program stop at its exec, traced by who started it", F, "stops before seccomp too" },
  StopBeforeSeccomp = { F, "is a stop that the host sees, does its steps in, and ends" },
  NoNewPrivs = { F, "is set, and comes with seccomp in a recipe unless that says no" },
  DropCaps = { F, "leaves no capability, and securebits that give none back" },
  UnshareCgroupAfterSync = { F, "makes the cgroup namespace once the host has moved the child" },
  CTTY = { F, "is the session's terminal" },
  ["error places"] = { places, "is step %s[%d]", places, "with a step of ours or with a reason why there is none", places, "that is injected is told apart as well" },
}

sections["D. A judge"] = {
  status = { "recipes/judge", "tells the limits apart", "recipes/judge", "tells errors and forbidden calls apart", "recipes/judge", "limits memory" },
  ["CPU time, peak memory"] = { "kernel/run", "ends a program at its CPU limit", "kernel/pool", "counts each run by itself" },
  ["set-up and running time"] = { "kernel/run", "tells the exit code, and the clock starts at exec" },
  ["container: exec"] = { "kernel/pool", "gives the result that caisson.run gives", "kernel/agent", "runs one program after the other" },
  ["container: open, delete"] = { "kernel/pool", "hands over files inside, in the program's name", "kernel/pool", "removes a file or a tree, and follows no link" },
  ["container: reset"] = { "kernel/pool", 'leaves nothing of " .. name', "kernel/pool", "destroys a container that can't be proved clean" },
  ["container: destroy, ping"] = { "kernel/pool", "that have died in the pool are not handed out", "kernel/pool", "die with their host" },
  ["ptrace mode by paths"] = { "recipes/judge_ptrace", "ends what reads another file, and says which", "recipes/judge_ptrace", "accepts what keeps to its files" },
  ["ptrace: answers"] = { "kernel/ptrace", "denies with any errno", "kernel/ptrace", "fakes a result", "kernel/ptrace", "kills, and the result says for what" },
  ["ptrace: threads and children"] = { "kernel/ptrace", "follows threads, forks and what they fork" },
}

-- As root and as a user the same specs; where a user has no cgroup here, the error says so and the VM proves the rest.
sections["Lifecycle"] = {
  ["create, start, state, list, wait, delete: methods"] = { K, "waits for its start as the runner", K, "is created, started and deleted by three processes" },
  ["create, start, state, list, wait, delete: commands"] = { L, "create, state, list, start, wait and delete: one life" },
  ["kill: method"] = { K, "gets a signal as a whole, or its program alone", K, "is ended by kill while it waits" },
  ["kill: command"] = { L, "sends the signal by word or number, to the first process or to all" },
  ["exec: method"] = { "kernel/coverage_container", "exec starts another process in it, running or not yet" },
  ["events: method"] = { "kernel/coverage_container", "events tells its end, with the status, once" },
  ["stats, ps: methods"] = { "kernel/coverage_container", "stats counts what it has used, pause and update act; or there is no cgroup" },
  ["exec: command"] = { L, "runs in the container's namespaces, with this command's streams", L, "detached goes on without us" },
  ["pause, resume: methods"] = { K, "stands still while it is paused" },
  ["pause, resume: commands"] = { L, "pause and resume stop and continue all of it" },
  ["update: method"] = { K, "has its limits changed while it runs" },
  ["update: command"] = { L, "update writes the limits, and names what it does not know" },
  ["stats, ps: commands"] = { L, "stats and ps read the groups", K, "is found by its processes without a group too" },
  ["events: command"] = { L, "tell its end, and how", L, "tell that memory is out" },
  ["events: groups"] = { "kernel/cgroup_events", "tell of the OOM killer", "kernel/cgroup_events", "have no pressure without a v2 group", "vm/resources", "pressure: a trigger tells of it" },
  ["state: atomic, locked, versioned"] = { "unit/state", "is never seen half by a reader", "unit/state", "is one process's at a time", "unit/state", "is an error if it is of a later version" },
  ["killed at any instant"] = { K, "is deleted cleanly, or not there, when its creator is killed", "long/lifecycle", "while it deletes leaves what can be deleted" },
  ["two commands at once"] = { L, "start and delete leave it whole or gone", "long/lifecycle", "worked on by 8 processes at random leave nothing" },
  ["ids"] = { L, "refuse bad ids", "unit/state", "takes what runc takes" },
  ["bad input"] = { "kernel/coverage_bad_input", "a joining process: every field", "kernel/coverage_bad_input", "a container's methods",
    "kernel/coverage_bad_input", "pools and their containers", "unit/bad_input", "every option of recipes", "unit/bad_input", "every field of every primitive", "unit/bad_input", "every function of the core" },
  ["a container's end"] = { "kernel/coverage_container", "does not wait for the object of a process that joined",
    "kernel/coverage_container", "does not wait for one that was detached" },
  ["supervision of 1000"] = { "long/supervision", "by caisson.loop", "long/supervision", "by luv", "kernel/supervision", "in a loop of luv's" },
}

-- Rows that nothing else asks for.
sections["The foundation"] = {
  ["N1, N2 namespaces"] = { "kernel/namespace", "makes all eight namespaces, the program's own time too", "kernel/namespace", "makes each of them alone, and leaves" },
  ["N3 time offsets"] = { "kernel/namespace", "moves both clocks of the program by what was asked, to 50 ms" },
  ["N4, N5 joining"] = { "kernel/namespace", "joins each by its path", "kernel/namespace", "joins all eight at once by a pidfd" },
  ["N6 contradictions"] = { "unit/recipe", "are each from one place" },
  ["N7, N8 id maps"] = { "kernel/idmap", "writes many ranges, and leaves setgroups as chosen" },
  ["N9 no further user namespaces"] = { "kernel/namespace", "makes further user namespaces impossible" },
  ["N10 namespaces that outlive"] = { "kernel/namespace", "joins a namespace that a descriptor holds after its processes are gone" },
  ["N11 cgroup namespace"] = { "kernel/namespace", "one cgroup namespace after the process is in its cgroup", "kernel/cgroup", "are the root of the container's cgroup namespace" },
  ["M1 binds"] = { "kernel/mount", "makes targets of the source's kind", "kernel/mount", "takes the mounts below only where it is recursive" },
  ["M2 recursive flags"] = { "kernel/mount", "makes the mounts below read-only by rro, and not by ro" },
  ["M3 idmapped"] = { "kernel/idmapped", "shows each owner as mapped, and writes as mapped" },
  ["M4, M5 tmpfs"] = { "kernel/filesystem", "has its size, and answers ENOSPC there", "kernel/filesystem", "starts with what it covers" },
  ["M6 overlay"] = { "kernel/filesystem", "shows the lower layers, the first on top", "kernel/filesystem", "uses xattrs that a user may set" },
  ["M7 propagation"] = { "kernel/mount", "is set per mount, as mountinfo's tags show", "kernel/mount", "is that of the root too" },
  ["M8 masked, read-only"] = { "kernel/root", "covers files with the null device and directories with one empty", "kernel/root", "makes a path and all mounts below it read-only" },
  ["M9 pivot_root"] = { "kernel/root", "leaves no mount of the host's behind" },
  ["M11, M12 hostile roots"] = { "kernel/path", "paths in a hostile root, by", "long/race", "never leads out of the root, by " },
  ["M13 procfs"] = { "kernel/procfs", "is what is written to, whatever the image has mounted or linked at /proc" },
  ["M14 new mount API"] = { "kernel/legacy", "each call has its own way out", "kernel/mount", "cost no more each, and nothing reads mountinfo" },
  ["M16, M17 devices"] = { "kernel/device", "makes a node where that is allowed", "kernel/device", "binds the host's where none can be made", "kernel/device", "the default /dev" },
  ["M19 inline files"] = { "kernel/device", "writes inline data into the root, and overwrites nothing" },
  ["M22 read-only root"] = { "kernel/root", "makes the root read-only at the end", "kernel/root", "keeps the flags that a user namespace locks" },
  ["C1, C2 limits"] = { "kernel/cgroup", "let as many processes be as pids.max", "vm/resources", "a resource of cgroup v2", "kernel/cgroup_v1", "a resource of cgroup v1" },
  ["C3 unified"] = { "vm/cgroup", "writes any file that unified names" },
  ["C7 kill"] = { "kernel/cgroup", "die as a whole, a fork bomb too" },
  ["C8 figures"] = { "kernel/cgroup", "count CPU time, also of processes that nobody waited for", "kernel/cgroup_recipe", "with figures of the group" },
  ["C11 born in the group"] = { "kernel/cgroup", "hold the program from its start, and are removed after its end" },
  ["S1, S2 profiles, actions"] = { "unit/policy", "are read as runc reads them", "kernel/seccomp", "seccomp actions" },
  ["S3 64-bit arguments"] = { "kernel/seccomp", "are 64 bits wide in the kernel" },
  ["S4 flags"] = { "kernel/seccomp", "are taken where the kernel knows them", "kernel/seccomp", "are an error where it does not", lack = "spec_allow's effect can't be "
    .. "seen on processors that need no mitigation" },
  ["S5 newer calls"] = { "kernel/seccomp", "answer ENOSYS, also where the default kills" },
  ["S8 cache"] = { "unit/policy", "has another program for every input" },
  ["S9 raw programs"] = { "kernel/seccomp", "are what compile gives and others take" },
  ["S11 several filters"] = { "kernel/seccomp", "all count, and the strictest answer wins" },
  ["S12 place"] = { "kernel/seccomp", "loads the default policy as the last thing before exec", "kernel/seccomp", "decides where a recipe's filter stands" },
  ["L3 Landlock"] = { "kernel/landlock", "allows writing where it is allowed and nowhere else", "kernel/landlock", "allows binding to its ports and to no other" },
  ["K1, K2 capabilities"] = { "kernel/capability", "set each of the five by itself", "kernel/capability", "keep the inheritable set empty for a program unless asked" },
  ["K3 securebits"] = { "kernel/capability", "are set as asked, all eight of old" },
  ["P2, P3 scheduler, I/O priority"] = { A, "sets realtime policies with their priority and flags", A, "sets class and level" },
  ["P4 affinity"] = { "kernel/affinity", "widens again what the host was bound to", "kernel/affinity", "has no limit at 1024" },
  ["P6 to P9 attributes"] = { A, "sets domain and flags", A, "is the program's, not the host's", A, "no_new_privs keeps a setuid program to its user" },
  ["P11 death signal"] = { "long/kills", "before any step leaves no process", "kernel/engine", "takes the child with it, in a sync" },
  ["P12 reaping"] = { "kernel/init", "reaps orphans", A, "a subreaper gets the orphans" },
  ["P14 sysctl"] = { "kernel/sysctl", "refuses what no namespace has for its own" },
  ["P15 descriptors as programs"] = { "kernel/exec", "may be a descriptor: a file's, or a memfd's" },
  ["P16 ids"] = { "kernel/credentials", "set all four ids each, and the groups", P, "has the home directory of its user" },
  ["P17, I3 descriptors"] = { "kernel/exec", "are those that the plan names, and no other", "kernel/exec", "come to their numbers in any permutation" },
  ["I1, I6 terminals"] = { "kernel/terminal", "give the program a controlling terminal of its own devpts", "kernel/session", "keeps input from being pushed into the host's terminal" },
  ["I4 pidfd"] = { "kernel/run", "gives a pipe to the caller, and can be polled by anyone" },
  ["Y2 run"] = { "kernel/run", "tells the exit code, and the clock starts at exec" },
  ["H1, H5, H6 command hooks"] = { "kernel/hooks", "are commands too, with the state on stdin and only their own environment", "kernel/hooks", "fail with their output, and end at their time limit" },
  ["H2, H3 function hooks"] = { "kernel/hooks", "run at their points, in order, with upvalues", "kernel/hooks", "see all eight namespaces as documented" },
  ["H4, H7 time limit, change"] = { "kernel/hooks", "that are functions end at their time limit", "kernel/hooks", "can change what comes next" },
  ["B1 errors"] = { "kernel/run", "says what failed: step, index, object, errno, and the recipe's line" },
  ["B2 plans"] = { "recipes/all", "can be planned by anybody", "kernel/saved", "finds its functions again in its recipe" },
  ["E1, E2 a library"] = { "kernel/host", "keeps its signals, mask, umask, cwd", "kernel/host", "may spawn from several threads at once" },
}

sections["Others"] = {
  ["W1 loopback"] = { "kernel/sysctl", "brings lo up" },
  ["W2 veth, rename, address, route, bridge"] = { "kernel/network", "is a cable to the host's bridge", "kernel/network", "belongs to the container's user namespace" },
  ["W3 macvlan, ipvlan"] = { "kernel/network", "is over a device of the host's", "vm/network", "ipvlan: addresses of the container's own" },
  ["W4 a device moved in and back"] = { "kernel/network", "which comes back", "kernel/network", "gives a device back that the program has renamed" },
  ["M18 console by descriptor"] = { C, "is the program's terminal, by descriptor", C, "CVE-2025-52565" },
  ["M20 nofollow"] = { C, "refuses a source that is a symlink", C, "refuses a symlink on the way to the target, for each kind of mount" },
  ["M21 live mounts"] = { "kernel/live", "gets a directory of the host's, read-only, and loses it again", "kernel/live", "leads no mount anywhere by its symlinks" },
  ["I5 status descriptor"] = { "kernel/status", "tells the child's pid and namespaces, exec and the end", "kernel/status", "is the command's too" },
  ["B4 logs"] = { "unit/log", "writes JSON, as runc's logs are", "unit/log", "writes to the journal", "unit/log", "writes to syslog" },
  ["C5 device rules"] = { "kernel/cgroup_device", "allow the defaults and nothing else: mknod c 1 3, not c 1 1" },
  ["C6 freeze, thaw"] = { "kernel/cgroup", "freeze all processes where they are, and thaw them", "kernel/cgroup", "are thawed again where freezing takes too long" },
  ["C10 OOM events"] = { "kernel/cgroup_events", "tell of the OOM killer, and are silent before", "kernel/cgroup", "kill what needs more memory than memory.max" },
  ["C13 live update"] = { "kernel/cgroup_update", "changes each limit, and what is not named stays", "kernel/cgroup_update", "takes back what it had changed when one fails" },
  ["C14 escape of groups"] = { J, "makes a group below the container's, and refuses all that leads out", "kernel/cgroup_calls", "takes no file outside of it" },
  ["L1 AppArmor"] = { "vm/apparmor", "stacks a profile on the one in force", lack = lsm },
  ["L2 SELinux"] = { "kernel/lsm", "says that SELinux is missing", lack = lsm },
  ["P13 core scheduling"] = { C, "has a cookie of its own, or the kernel can't, and says why", lack = "no SCHED_CORE in either kernel: its error is tested" },
  ["Y11 pool"] = { "kernel/pool", "are made in advance, handed out once, and made again" },
}

sections["The OCI runtime"] = {
  ["configurations: read, checked"] = { "unit/oci_document", "keeps every bit of 64-bit numbers", "unit/oci_check", "have properties, of which no wrong value is taken" },
  ["root, mounts"] = { "oci/config_mounts", "root: writable, or read-only", "oci/config_mounts", "rbind takes what is mounted below", "oci/config_mounts",
    "id maps of a mount", "oci/config_mounts", "propagation: what is mounted later" },
  process = { "oci/config_process", "capabilities: five sets", "oci/config_process", "oomScoreAdj, scheduler, ioPriority", "oci/config_process", "execCPUAffinity" },
  linux = { "oci/config_linux", "namespaces: by path", "oci/config_linux", "user namespaces: root's, with their maps", "oci/config_linux", "netDevices: moved into",
    "oci/config_linux", "memoryPolicy", "oci/config_linux", "seccomp: calls are denied" },
  resources = { "oci/config_resources", "memory, pids, cpu, cpuset: v1", "oci/config_resources", "hugetlb: pages in use and reserved", "vm/oci_resources", "are what the group's files have" },
  hooks = { "oci/config_hooks", "are run at each point, in its namespaces", "oci/conformance", "that fail at create undo it" },
  ["plan and export of bundles"] = { "oci/config_plan", "is extended by a recipe, whose script edits the plan", "oci/export", "is the same container, read again" },
  ["the commands"] = { "oci/cli_words", "reads flags as Go does", "oci/cli_run", "is the program: its streams", "oci/cli_exec", "--process has all of it from a file",
    "oci/cli_container", "state has runc's document", "oci/conformance", "tells created, running and stopped" },
  ["Y10 checkpoint, restore"] = { "oci/cli_checkpoint", "has criu save a container's processes", lack = "criu 3.17 fails on this kernel: a script stands in its place" },
  Podman = { "engines/podman", "runs beside the container's program", "engines/podman", "hold: memory", "engines/rootless", "maps ids", "systemd/podman", "has statistics" },
  containerd = { "engines/containerd", "is executed in", "engines/containerd", "is told of an OOM kill" },
  ["recipes over engines' containers"] = { "oci/annotation", "takes nothing that another than root could have written", "oci/annotation", "a secret from a function" },
  ["S6 seccomp listener"] = { "oci/notify", "run hands it over", "oci/notify", "start hands it over, and exec its own", "kernel/coverage_listener", "may be asked about any call" },
  ["S7 handlers"] = { "kernel/notify", "with a descriptor, or with one beside the answer", "kernel/notify", "when a function takes too long" },
  ["escapes (attacks/rows_spec.lua has them one by one)"] = { "attacks/rows", "" },
}

sections["Prototyping policies"] = {
  ["policies as mix-ins"] = { "unit/mix", "narrows each of a recipe's options, and leaves what it does not speak of",
    "kernel/mix", "narrows a container", "kernel/mix", "every ruleset must allow it" },
  ["mix-ins as values"] = { "unit/mix", "of two makes one that holds both (*), or allows what either does (+)",
    "unit/mix", "gives up calls, paths and capabilities (-)" },
  ["decide"] = { "kernel/decide", "says of random calls what the kernel does",
    "unit/decide", "says the action, the rule, and where that is written" },
  ["policy diff"] = { "unit/policy_diff", "tells each call whose answer changed, and where",
    "unit/policy_diff", "tells which arguments count otherwise", "unit/policy_diff", "agrees with what the programs answer" },
  ["bpf listing and bytes"] = { "unit/policy_diff", "is the program, as bytes and as a listing that is the same program",
    "kernel/policy_command", "has bytes that bwrap loads: what is denied fails, and what is allowed works" },
  ["groups of systemd"] = { "unit/policy", "have all of systemd's, @default for what every program does, and @known for all" },
  ["profiles of engines"] = { "unit/policy",
    "of engines are resolved as those do, for this machine, this kernel and these capabilities" },
  ["run --explain"] = { "kernel/explain", "names the policy that does not list a call, with the line and what would allow it",
    "kernel/explain", "says nothing of what is allowed" },
  ["explain: SIGSYS"] = { "kernel/explain", "tells what a filter killed for, and a trap" },
  ["explain: EPERM, EACCES, ENOSYS of a policy"] = { "kernel/explain",
    "has every errno of a policy's answered as the filter would" },
  ["explain: OOM and pids"] = { "kernel/explain", "names the group's limits" },
  ["explain: mounts, Landlock, modes, capabilities"] = { "kernel/explain", "names the mount that is read-only, by its entry",
    "kernel/explain", "names the right that Landlock does not give",
    "kernel/explain", "names the file's own mode, and the capability that is missing" },
  ["explain: threads, forks, exec"] = { "kernel/explain", "follows threads, forks and what they execute, and counts" },
  ["explain: at nearly full speed"] = { "kernel/explain_stub", "stops once, not for each call",
    "kernel/explain_stub", "leaves registers, flags, the stack", "kernel/explain_stub", "is judged by the policy as ever" },
  ["explain: the same for the program"] = { "kernel/explain", "leaves signals and masks as they are",
    "kernel/explain", "lets no filter of the program's own loosen the policy" },
  ["decode as strace"] = { "kernel/decode", "writes what strace does" },
  ["learn: calls equal strace's"] = { "kernel/learn", "are those that strace sees" },
  ["learn: threads, union of runs"] = { "kernel/learn", "of threads: those of several runs hold what strace sees" },
  ["learn: arguments"] = { "kernel/learn", "come with the arguments that count" },
  ["learn: policy passes and denies"] = { "kernel/learn", "are all there is, once they are a policy" },
  ["learn: files folded"] = { "kernel/learn", "become few rules, and temporary ones the folder that they were in" },
  ["learn: network"] = { "kernel/learn", "are ports that may be bound and connected to, and no others" },
  ["learn: capabilities"] = { "kernel/learn", "tells of capabilities what was used of those that were there" },
  ["learn: command, --merge, --oci"] = { "kernel/learn", "writes a recipe that the program passes with, and adds to it" },
  ["watch"] = { "recipes/watch", "shows what a change does to the plan and the result",
    "recipes/watch", "ends a program that runs, and all that it has started", "recipes/watch", "leaves nothing when it is killed" },
  ["new"] = { "recipes/new", "begins a recipe from", "recipes/new", "never writes over a file" },
  ["annotations"] = { "unit/annotations", "has an annotation of each public function and method",
    "unit/annotations", "has all that is annotated", "unit/annotations", "has a class with every option" },
}

describe("coverage of", function()
  for section, rows in pairs(sections) do
    it(section .. ": each row has its specs", function()
      for name, row in pairs(rows) do
        assert.truthy(#row > 0 and #row % 2 == 0, name)
        for i = 1, #row, 2 do
          assert.truthy(titles(row[i]), ("%s: spec/%s_spec.lua is not there"):format(name, row[i]))
          assert.truthy(is_there(row[i], row[i + 1]), ("%s: spec/%s_spec.lua has no spec '%s'"):format(name, row[i], row[i + 1]))
        end
        if row.lack then assert.truthy(#row.lack > 20, name) end
      end
    end)
  end
end)
