-- What the arguments of system calls are, one word each (a call that takes none has none):
--   d int   u unsigned   x hexadecimal   o octal (a mode)   p a pointer   fd   at (a directory's descriptor)
--   path    str a text   data: bytes, as many as the next argument says   addr: a socket's address, as long as the next
--   strs: a list of texts   how: struct open_how   args: struct clone_args   sig
--   =NAME   one of a family of constants (caisson.trace.constants)   |NAME   flags: any number of them
-- A call that needs more than this has a function in caisson.trace.decode.
local text = [[
open path |open o
openat at path |open o
openat2 at path how u
creat path o
close fd
close_range u u |closerange
read fd p u
write fd data u
pread64 fd p u d
pwrite64 fd data u d
readv fd p d
writev fd p d
access path |access
faccessat at path |access
faccessat2 at path |access |at_flags
stat path p
lstat path p
fstat fd p
newfstatat at path p |at_flags
statx at path |at_flags x p
statfs path p
fstatfs fd p
readlink path p u
readlinkat at path p u
getcwd p u
chdir path
fchdir fd
chroot path
execve path strs p
execveat at path strs p |at_flags
mkdir path o
mkdirat at path o
rmdir path
mknod path o x
mknodat at path o x
unlink path
unlinkat at path |at_flags
symlink path path
symlinkat path at path
link path path
linkat at path at path |at_flags
rename path path
renameat at path at path
renameat2 at path at path |rename
chmod path o
fchmod fd o
fchmodat at path o
fchmodat2 at path o |at_flags
chown path d d
lchown path d d
fchown fd d d
fchownat at path d d |at_flags
truncate path d
ftruncate fd d
fallocate fd |fallocate d d
utime path p
utimes path p
utimensat at path p |at_flags
futimesat at path p
getdents fd p u
getdents64 fd p u
lseek fd d =whence
umask o
acct path
swapon path |swap
swapoff path
quotactl x path d p
name_to_handle_at at path p p |at_flags
open_by_handle_at fd p |open
getxattr path str p u
lgetxattr path str p u
fgetxattr fd str p u
listxattr path p u
llistxattr path p u
flistxattr fd p u
setxattr path str data u |xattr
lsetxattr path str data u |xattr
fsetxattr fd str data u |xattr
removexattr path str
lremovexattr path str
fremovexattr fd str
inotify_init
inotify_init1 |inotify
inotify_add_watch fd path x
inotify_rm_watch fd d
fanotify_init x |open
fanotify_mark fd x x at path
flock fd |flock
fsync fd
fdatasync fd
sync
syncfs fd
sendfile fd fd p u
splice fd p fd p u x
copy_file_range fd p fd p u x
dup fd
dup2 fd fd
dup3 fd fd |open
pipe p
pipe2 p |open
fcntl fd =fcntl x
ioctl fd =ioctl p
select d p p p p
poll p u d
ppoll p u p p u
epoll_create d
epoll_create1 |epoll
epoll_ctl fd =epoll_op fd p
epoll_wait fd p d d
epoll_pwait fd p d d p u
eventfd d
eventfd2 d |eventfd
signalfd4 fd p u |signalfd
timerfd_create =clockid |timerfd
mount path path str |mount str
umount2 path |umount
pivot_root path path
fsopen str |fsopen
fsconfig fd =fsconfig str str d
fsmount fd |fsmount |mountattr
fspick at path x
open_tree at path |open_tree|at_flags
move_mount at path at path |move_mount
mount_setattr at path |at_flags p u
statmount p p u x
listmount p p u x
socket =family |socktype d
socketpair =family |socktype d p
bind fd addr d
connect fd addr d
listen fd d
accept fd p p
accept4 fd p p |sockflags
getsockname fd p p
getpeername fd p p
sendto fd data u |msg addr d
recvfrom fd p u |msg p p
sendmsg fd p |msg
sendmmsg fd p u |msg
recvmsg fd p |msg
recvmmsg fd p u |msg p
shutdown fd =shutdown
setsockopt fd =sollevel =sockopt p d
getsockopt fd =sollevel =sockopt p p
sethostname str u
setdomainname str u
uname p
mmap p u |prot |map fd x
munmap p u
mprotect p u |prot
pkey_mprotect p u |prot d
mremap p u u |mremap p
madvise p u =madvise
msync p u |msync
mlock p u
mlock2 p u x
mlockall |mlock
munlock p u
munlockall
mbind p u =mempolicy p u x
set_mempolicy =mempolicy p u
get_mempolicy p p u p x
move_pages d u p p p x
migrate_pages d u p p
brk p
memfd_create str |memfd
memfd_secret |open
userfaultfd |uffd
process_vm_readv d p u p u x
process_vm_writev d p u p u x
process_madvise fd p u =madvise x
clone |clone p p p p
clone3 args u
fork
vfork
exit d
exit_group d
wait4 d p |wait p
waitid =idtype d p |wait p
kill d sig
tkill d sig
tgkill d d sig
pidfd_open d |pidfd
pidfd_send_signal fd sig p x
pidfd_getfd fd d x
ptrace =ptrace d p p
prctl =prctl x x x x
arch_prctl =arch_prctl p
seccomp =seccomp |seccomp_flags p
bpf =bpf p u
perf_event_open p d d fd |perf
keyctl =keyctl =keyring x x x
add_key str str data u =keyring
request_key str str str =keyring
unshare |nstype
setns fd |nstype
personality |persona
capget p p
capset p p
getpid
getppid
gettid
getuid
geteuid
getgid
getegid
getpgrp
getpgid d
getsid d
setsid
setpgid d d
setuid d
setgid d
setreuid d d
setregid d d
setresuid d d d
setresgid d d d
setfsuid d
setfsgid d
getgroups d p
setgroups d p
getrlimit =rlimit p
setrlimit =rlimit p
prlimit64 d =rlimit p p
getpriority =prio d
setpriority =prio d d
nice d
ioprio_get =ioprio d
ioprio_set =ioprio d x
sched_setscheduler d =sched p
sched_getscheduler d
sched_setparam d p
sched_getparam d p
sched_setattr d p x
sched_getattr d p u x
sched_setaffinity d u p
sched_getaffinity d u p
sched_yield
rt_sigaction sig p p u
rt_sigprocmask =sigmask p p u
rt_sigreturn
sigaltstack p p
pause
alarm u
nanosleep p p
clock_nanosleep =clockid d p p
clock_gettime =clockid p
clock_settime =clockid p
clock_adjtime =clockid p
clock_getres =clockid p
settimeofday p p
gettimeofday p p
adjtimex p
time p
times p
stime p
futex p =futex x p p x
set_robust_list p u
get_robust_list d p p
set_tid_address p
rseq p u x x
membarrier d x d
getrandom p u |grnd
getcpu p p p
sysinfo p
getrusage d p
syslog d p d
reboot x x d p
kexec_load p u p x
kexec_file_load fd fd u str x
init_module p u str
finit_module fd str x
delete_module str |open
lookup_dcookie x p u
iopl d
ioperm u u d
vhangup
shmget x u |shm
shmat d p x
shmctl d d p
shmdt p
semget x d |shm
semop d p u
semctl d d d p
msgget x |shm
msgsnd d p u x
msgrcv d p u d x
msgctl d d p
mq_open str |open o p
mq_unlink str
io_setup u p
io_submit x d p
io_uring_setup u p
io_uring_enter fd u u x p u
io_uring_register fd u p u
landlock_create_ruleset p u |landlock
landlock_add_rule fd d p x
landlock_restrict_self fd x
kcmp d d d x x
modify_ldt d p u
restart_syscall
cachestat fd p p x
]]

local signatures

-- The words of a call, in order | nil: a call that is not known here.
---@return string[]|nil
return function(name)
  if not signatures then
    signatures = {}
    for line in text:gmatch "[^\n]+" do
      local call, rest = line:match "^(%S+) ?(.*)$"
      signatures[call] = rest
    end
  end
  local s = signatures[name]
  if type(s) == "string" then
    local list = {}
    for word in s:gmatch "%S+" do list[#list + 1] = word end
    signatures[name], s = list, list
  end
  return s
end
