-- The files of cgroup v1 and v2: what a limit, a figure or an event is called where.
local M = {}

-- Controllers that v1 calls by another name.
M.v1_names = { io = "blkio" }

-- limits[controller] = list of { option, kind, v2 =, v1 = }, in the order they are written. `v1` false or
-- absent: v1 has nothing like it; `v2` likewise. verify: some kernels take it and ignore it.
-- Kinds are those of caisson.cgroup.limits.
M.limits = {
  memory = {
    { "use_hierarchy", "boolean", v1 = "memory.use_hierarchy" },
    { "max", "size", v2 = "memory.max", v1 = "memory.limit_in_bytes" },
    { "high", "size", v2 = "memory.high" },
    { "low", "size", v2 = "memory.low", v1 = "memory.soft_limit_in_bytes" },
    { "min", "size", v2 = "memory.min" },
    { "swap", "swap", v2 = "memory.swap.max", v1 = "memory.memsw.limit_in_bytes" },
    { "swap_high", "size", v2 = "memory.swap.high" },
    { "zswap", "size", v2 = "memory.zswap.max" },
    { "oom_group", "boolean", v2 = "memory.oom.group" },
    { "swappiness", "count", v1 = "memory.swappiness" },
    { "oom_kill_disable", "boolean", v1 = "memory.oom_control" },
    { "kernel", "size", v1 = "memory.kmem.limit_in_bytes", verify = true },
    { "kernel_tcp", "size", v1 = "memory.kmem.tcp.limit_in_bytes" },
  },
  pids = {
    { "max", "count_or_max", v2 = "pids.max", v1 = "pids.max" },
  },
  cpu = {
    { "max", "quota", v2 = "cpu.max", v1 = { quota = "cpu.cfs_quota_us", period = "cpu.cfs_period_us" } },
    { "burst", "count", v2 = "cpu.max.burst", v1 = "cpu.cfs_burst_us" },
    { "weight", "weight", v2 = "cpu.weight", v1 = "cpu.shares" },
    { "shares", "shares", v2 = "cpu.weight", v1 = "cpu.shares" },
    { "idle", "boolean", v2 = "cpu.idle", v1 = "cpu.idle" },
    { "uclamp_min", "percent", v2 = "cpu.uclamp.min" },
    { "uclamp_max", "percent", v2 = "cpu.uclamp.max" },
    { "rt_period", "count", v1 = "cpu.rt_period_us" },
    { "rt_runtime", "count_or_off", v1 = "cpu.rt_runtime_us" },
  },
  cpuset = {
    { "cpus", "cpulist", v2 = "cpuset.cpus", v1 = "cpuset.cpus" },
    { "mems", "cpulist", v2 = "cpuset.mems", v1 = "cpuset.mems" },
    { "partition", "partition", v2 = "cpuset.cpus.partition" },
  },
  io = {
    { "weight", "io_weight", v2 = "io.weight", v1 = "blkio.bfq.weight" },
    { "bfq_weight", "io_weight", v2 = "io.bfq.weight", v1 = "blkio.bfq.weight" },
    { "leaf_weight", "io_weight", v1 = "blkio.leaf_weight" },
    { "max", "io_max", v2 = "io.max", v1 = {
      rbps = "blkio.throttle.read_bps_device", wbps = "blkio.throttle.write_bps_device",
      riops = "blkio.throttle.read_iops_device", wiops = "blkio.throttle.write_iops_device" } },
    { "latency", "io_latency", v2 = "io.latency" },
  },
  -- option: the page size, as in "2MB"
  hugetlb = { any = { "hugetlb",
    v2 = { max = "hugetlb.%s.max", rsvd = "hugetlb.%s.rsvd.max" },
    v1 = { max = "hugetlb.%s.limit_in_bytes", rsvd = "hugetlb.%s.rsvd.limit_in_bytes" } } },
  -- option: the device
  rdma = { any = { "rdma", v2 = "rdma.max", v1 = "rdma.max" } },
  -- option: the resource
  misc = { any = { "misc", v2 = "misc.max", v1 = "misc.max" } },
  net_cls = { { "classid", "count", v1 = "net_cls.classid" } },
  -- option: the interface
  net_prio = { any = { "net_prio", v1 = "net_prio.ifpriomap" } },
}

-- figures[name] = where it is read. `controller`: whose group on v1 (v2 has one group). A pattern captures
-- the number, without one the whole file is it; `scale` makes it the unit that the name says.
M.figures = {
  cpu_ns = { controller = { "cpuacct" },
    v2 = { "cpu.stat", "usage_usec (%d+)", scale = 1000 }, v1 = { "cpuacct.usage" } },
  user_ns = { controller = { "cpuacct" },
    v2 = { "cpu.stat", "user_usec (%d+)", scale = 1000 }, v1 = { "cpuacct.usage_user" } },
  system_ns = { controller = { "cpuacct" },
    v2 = { "cpu.stat", "system_usec (%d+)", scale = 1000 }, v1 = { "cpuacct.usage_sys" } },
  throttled = { controller = { "cpu" },
    v2 = { "cpu.stat", "nr_throttled (%d+)" }, v1 = { "cpu.stat", "nr_throttled (%d+)" } },
  throttled_ns = { controller = { "cpu" },
    v2 = { "cpu.stat", "throttled_usec (%d+)", scale = 1000 }, v1 = { "cpu.stat", "throttled_time (%d+)" } },
  memory_current = { controller = { "memory" },
    v2 = { "memory.current" }, v1 = { "memory.usage_in_bytes" } },
  memory_peak = { controller = { "memory" },
    v2 = { "memory.peak" }, v1 = { "memory.max_usage_in_bytes" } },
  swap_current = { controller = { "memory" }, v2 = { "memory.swap.current" } },
  oom_kills = { controller = { "memory" },
    v2 = { "memory.events", "oom_kill (%d+)" }, v1 = { "memory.oom_control", "oom_kill (%d+)" } },
  memory_limit_hits = { controller = { "memory" },
    v2 = { "memory.events", "max (%d+)" }, v1 = { "memory.failcnt" } },
  pids_current = { controller = { "pids" }, v2 = { "pids.current" }, v1 = { "pids.current" } },
  pids_peak = { controller = { "pids" }, v2 = { "pids.peak" }, v1 = { "pids.peak" } },
  pids_limit_hits = { controller = { "pids" },
    v2 = { "pids.events", "max (%d+)" }, v1 = { "pids.events", "max (%d+)" } },
}

-- Bytes and operations by device.
M.io = {
  v2 = { file = "io.stat" },
  v1 = { controller = "blkio", bytes = "blkio.throttle.io_service_bytes_recursive",
    operations = "blkio.throttle.io_serviced_recursive" },
}

-- Freezing: what to write, and what the kernel then says.
M.freeze = {
  v2 = { file = "cgroup.freeze", freeze = "1", thaw = "0", state = { "cgroup.events", "frozen (%d)" },
    frozen = "1", thawed = "0" },
  v1 = { file = "freezer.state", freeze = "FROZEN", thaw = "THAWED", state = { "freezer.state", "(%u+)" },
    frozen = "FROZEN", thawed = "THAWED" },
}

return M
