-- An agent that answers for the calls of a filter (seccomp_unotify(2)), of x86-64.
local M = {}

-- An agent: says "ready", then the message that comes with the listener; mkdir it answers with errno 99, and is gone
-- then, or (stays) once nobody can ask any more; any other call is to go on. Returns its output.
function M.start(path, stays)
  local out = assert(io.popen(([[exec 2>&1; perl -MSocket -e '
    socket(S, AF_UNIX, SOCK_STREAM, 0); bind(S, pack_sockaddr_un("%s")) or die; listen(S, 5); $| = 1; print "ready\n"; alarm 20;
    accept(C, S);
    my ($data, $control) = ("\0" x 4096, "\0" x 24);
    my $iov = pack("PQ", $data, 4096); my $msg = pack("QQPQPQQ", 0, 0, $iov, 1, $control, 24, 0);
    my $n = syscall(47, fileno(C), $msg, 0); my $fd = unpack("x16 l", $control);
    print substr($data, 0, $n), "\n";
    open my $l, "+<&=", $fd or die "listener: $!";
    for (;;) {
      my $poll = pack "lss", fileno $l, 1, 0; syscall(7, $poll, 1, -1);
      last unless (unpack "lss", $poll)[2] & 1;
      my $notice = "\0" x 80;
      ioctl($l, 0xc0502100, $notice) or $!{ENOENT} ? next : die "receive: $!";
      my ($id, $from, $flags, $nr) = unpack "QLLl", $notice;
      my $answer = pack "QqlL", $id, 0, $nr == 83 ? (-99, 0) : (0, 1);
      print $nr == 83 ? "asked by $from\n" : "let $nr\n";
      ioctl($l, 0xc0182101, $answer) or $!{ENOENT} or die "send: $!";
      last if $nr == 83 && !%d;
    }' ]]):format(path, stays and 1 or 0)))
  assert(out:read("*l") == "ready")
  return out
end

-- What an agent that stays was told, and its calls, as numbers: " 59 mkdir 231 ".
function M.story(out)
  local state, calls = require("caisson.json").decode(out:read("*l")), {}
  for line in out:lines() do calls[#calls + 1] = line:match("^let (%d+)$") or "mkdir" end
  out:close()
  return state, " " .. table.concat(calls, " ") .. " "
end

return M
