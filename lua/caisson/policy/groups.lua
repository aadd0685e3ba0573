-- System calls by what they are for. A group may hold other groups. Names of every architecture and of
-- kernels newer than the library stand here too: what libseccomp does not know is left out of a program.
--
-- Each is text, which names.lua takes apart when somebody asks for it.
--
-- The names follow systemd.exec(5), "SystemCallFilter=", where it has such a group. Some are cut finer: io_uring is no
-- @aio, and setns and unshare are no @process; @process, @timer and @system-service are whole without its @default.
local M = {}

-- Descriptors that are there already, memory, and leaving: no program does without.
M["@basic-io"] = [[
  close close_range dup dup2 dup3 lseek _llseek pread64 preadv preadv2 pwrite64 pwritev pwritev2 read
  readv write writev ]]

M["@aio"] = [[
  io_cancel io_destroy io_getevents io_pgetevents io_pgetevents_time64 io_setup io_submit ]]

M["@io-uring"] = [[ io_uring_enter io_uring_register io_uring_setup ]]

M["@io-event"] = [[
  _newselect epoll_create epoll_create1 epoll_ctl epoll_ctl_old epoll_pwait epoll_pwait2 epoll_wait
  epoll_wait_old eventfd eventfd2 poll ppoll ppoll_time64 pselect6 pselect6_time64 select ]]

-- Names, metadata and descriptors of files.
M["@file-system"] = [[
  access chdir chmod close creat cachestat faccessat faccessat2 fallocate fchdir fchmod fchmodat
  fchmodat2 fcntl fcntl64 fgetxattr file_getattr file_setattr flistxattr fremovexattr fsetxattr fstat
  fstat64 fstatat64 fstatfs fstatfs64 ftruncate ftruncate64 futimesat getcwd getdents getdents64
  getxattr getxattrat inotify_add_watch inotify_init inotify_init1 inotify_rm_watch lgetxattr link
  linkat listmount listxattr listxattrat llistxattr lremovexattr lsetxattr lstat lstat64 mkdir mkdirat
  mknod mknodat newfstatat oldfstat oldlstat oldstat open openat openat2 readlink readlinkat
  removexattr removexattrat rename renameat renameat2 rmdir setxattr setxattrat stat stat64 statfs
  statfs64 statmount statx symlink symlinkat truncate truncate64 unlink unlinkat utime utimensat
  utimensat_time64 utimes ]]

-- Data between descriptors, locks, advice.
M["@file-data"] = [[
  arm_fadvise64_64 copy_file_range fadvise64 fadvise64_64 flock ioctl pipe pipe2 readahead readdir
  sendfile sendfile64 splice sync_file_range sync_file_range2 tee vmsplice ]]

M["@sync"] = [[ fdatasync fsync msync sync sync_file_range sync_file_range2 syncfs ]]

M["@chown"] = [[ chown chown32 fchown fchown32 fchownat lchown lchown32 ]]

M["@memory"] = [[
  brk madvise map_shadow_stack membarrier memfd_create memfd_secret mincore mmap mmap2 mprotect mremap
  mseal munmap process_madvise remap_file_pages ]]

M["@memlock"] = [[ mlock mlock2 mlockall munlock munlockall ]]

M["@pkey"] = [[ pkey_alloc pkey_free pkey_mprotect ]]

-- Placement of memory on NUMA nodes, of one's own and others.
M["@numa"] = [[
  get_mempolicy mbind migrate_pages move_pages set_mempolicy set_mempolicy_home_node ]]

M["@network-io"] = [[
  accept accept4 bind connect getpeername getsockname getsockopt listen recv recvfrom recvmmsg
  recvmmsg_time64 recvmsg send sendmmsg sendmsg sendto setsockopt shutdown socket socketcall
  socketpair ]]

M["@ipc"] = [[
  ipc memfd_create mq_getsetattr mq_notify mq_open mq_timedreceive mq_timedreceive_time64 mq_timedsend
  mq_timedsend_time64 mq_unlink msgctl msgget msgrcv msgsnd pipe pipe2 process_madvise
  process_vm_readv process_vm_writev semctl semget semop semtimedop semtimedop_time64 shmat shmctl
  shmdt shmget ]]

M["@process"] = [[
  arch_prctl arm_fadvise64_64 capget clone clone3 execve execveat exit exit_group fork get_robust_list
  getcpu getegid getegid32 geteuid geteuid32 getgid getgid32 getgroups getgroups32 getpgid getpgrp
  getpid getppid getresgid getresgid32 getresuid getresuid32 getrusage getsid gettid getuid getuid32
  kill pidfd_open pidfd_send_signal prctl process_mrelease rseq rt_sigqueueinfo rt_tgsigqueueinfo
  set_robust_list set_tid_address setpgid setsid tgkill times tkill umask vfork wait4 waitid waitpid ]]

M["@thread"] = [[
  arm_sync_file_range breakpoint cacheflush futex futex_requeue futex_time64 futex_wait futex_waitv
  futex_wake get_thread_area get_tls modify_ldt riscv_flush_icache riscv_hwprobe sched_yield
  set_thread_area set_tls sigreturn ]]

M["@signal"] = [[
  pause restart_syscall rt_sigaction rt_sigpending rt_sigprocmask rt_sigreturn rt_sigsuspend
  rt_sigtimedwait rt_sigtimedwait_time64 sigaction sigaltstack signal signalfd signalfd4 sigpending
  sigprocmask sigreturn sigsuspend ]]

M["@timer"] = [[
  alarm clock_getres clock_getres_time64 clock_gettime clock_gettime64 clock_nanosleep
  clock_nanosleep_time64 getitimer gettimeofday nanosleep setitimer time timer_create timer_delete
  timer_getoverrun timer_gettime timer_gettime64 timer_settime timer_settime64 timerfd_create
  timerfd_gettime timerfd_gettime64 timerfd_settime timerfd_settime64 ]]

-- What a process may ask about the machine.
M["@information"] = [[
  getcpu getpriority getrandom getrlimit ioprio_get lsm_get_self_attr lsm_list_modules
  sched_get_priority_max sched_get_priority_min sched_getaffinity sched_getattr sched_getparam
  sched_getscheduler sched_rr_get_interval sched_rr_get_interval_time64 sysinfo ugetrlimit uname
  oldolduname olduname ]]

M["@resources"] = [[
  ioprio_set mbind migrate_pages move_pages nice prlimit64 sched_setaffinity sched_setattr
  sched_setparam sched_setscheduler set_mempolicy set_mempolicy_home_node setpriority setrlimit ]]

-- Confining oneself further.
M["@sandbox"] = [[
  landlock_add_rule landlock_create_ruleset landlock_restrict_self lsm_set_self_attr seccomp ]]

M["@setuid"] = [[
  setgid setgid32 setgroups setgroups32 setregid setregid32 setresgid setresgid32 setresuid
  setresuid32 setreuid setreuid32 setuid setuid32 ]]

M["@setfsuid"] = [[ setfsgid setfsgid32 setfsuid setfsuid32 ]]

-- ---- what a container has little use for, and an attacker some ----

M["@clock"] = [[
  adjtimex clock_adjtime clock_adjtime64 clock_settime clock_settime64 settimeofday stime ]]

M["@cpu-emulation"] = [[
  modify_ldt subpage_prot switch_endian vm86 vm86old ]]

M["@debug"] = [[
  kcmp lookup_dcookie perf_event_open pidfd_getfd process_vm_readv process_vm_writev ptrace rtas s390_runtime_instr
  sys_debug_setcontext ]]

M["@keyring"] = [[ add_key keyctl request_key ]]

M["@module"] = [[ delete_module finit_module init_module ]]

M["@mount"] = [[
  chroot fsconfig fsmount fsopen fspick mount mount_setattr move_mount open_tree open_tree_attr
  pivot_root umount umount2 ]]

M["@namespace"] = [[ setns unshare ]]

M["@raw-io"] = [[
  ioperm iopl pciconfig_iobase pciconfig_read pciconfig_write s390_pci_mmio_read
  s390_pci_mmio_write ]]

M["@reboot"] = [[ kexec_file_load kexec_load reboot ]]

M["@swap"] = [[ swapoff swapon ]]

M["@obsolete"] = [[
  _sysctl afs_syscall bdflush break create_module epoll_ctl_old epoll_wait_old ftime get_kernel_syms
  getpmsg gtty idle lock mpx nfsservctl prof profil putpmsg query_module security sgetmask ssetmask
  multiplexer stty sysfs timerfd tuxcall ulimit uselib ustat vserver ]]

M["@privileged"] = [[
  @chown @clock @module @raw-io @reboot @setfsuid @setuid @swap _sysctl acct bpf capset chroot
  fanotify_init fanotify_mark mount_setattr move_mount nfsservctl open_by_handle_at open_tree_attr
  pivot_root quotactl quotactl_fd setdomainname sethostname vhangup ]]

-- What the kernel lets only an administrator do, or does for nobody sensibly.
M["@administration"] = [[
  acct bpf fanotify_init fanotify_mark name_to_handle_at open_by_handle_at quotactl quotactl_fd
  setdomainname sethostname syslog userfaultfd vhangup ]]

M["@personality"] = [[ personality ]]

-- Machine dependent, harmless.
M["@architecture"] = [[
  arch_prctl arm_fadvise64_64 arm_sync_file_range breakpoint cacheflush get_tls modify_ldt
  riscv_flush_icache riscv_hwprobe s390_guarded_storage s390_pci_mmio_read s390_pci_mmio_write
  s390_sthyi set_tls spu_create spu_run swapcontext sync_file_range2 usr26 usr32 ]]

-- What no program does without: to start, wait, end, and ask who and when it is.
M["@default"] = [[
  arch_prctl brk cacheflush clock_getres clock_getres_time64 clock_gettime clock_gettime64 clock_nanosleep
  clock_nanosleep_time64 execve exit exit_group futex futex_time64 futex_waitv get_robust_list get_thread_area
  getegid getegid32 geteuid geteuid32 getgid getgid32 getgroups getgroups32 getpgid getpgrp getpid getppid
  getrandom getresgid getresgid32 getresuid getresuid32 getrlimit getsid gettid gettimeofday getuid getuid32
  membarrier mmap mmap2 mprotect munmap nanosleep pause prlimit64 restart_syscall riscv_flush_icache
  riscv_hwprobe rseq rt_sigreturn sched_getaffinity sched_yield set_robust_list set_thread_area
  set_tid_address set_tls sigreturn time ugetrlimit ]]

-- A service's usual needs: what a stranger's policy can start from.
M["@system-service"] = [[
  @aio @basic-io @chown @file-data @file-system @information @io-event @ipc @keyring @memlock @memory
  @network-io @pkey @process @resources @setuid @signal @sync @thread @timer capset fanotify_init
  name_to_handle_at personality ]]

-- All of them.
local known = {}
for group in pairs(M) do known[#known + 1] = group end
table.sort(known)
M["@known"] = table.concat(known, " ")

return M
