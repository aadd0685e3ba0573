local t = require "support"
local cli = require "support.cli"

describe("the nettrace recipe", function()
  if not t.needs("userns", "perl") then return end
  if not t.core.lstat "/proc/net/if_inet6" then return pending "no IPv6" end

  -- Listens on the host, and tries to connect from inside; each line is what came of it.
  local script = [[use Socket qw(:all);
    for (@ARGV) {
      my ($host, $port) = /^(.*):(\d+)$/; my $six = $host =~ /:/;
      socket(S, $six ? AF_INET6 : AF_INET, SOCK_STREAM, 0) or die;
      my $to = $six ? pack_sockaddr_in6($port, inet_pton(AF_INET6, $host)) : pack_sockaddr_in($port, inet_aton($host));
      print connect(S, $to) ? "connected\n" : $! + 0, "\n";
    }]]

  local function run(words, ...)
    local all = { "run", "recipes/nettrace.lua" }
    for _, w in ipairs(words) do all[#all + 1] = w end
    for _, w in ipairs { "--", "perl", "-e", script, ... } do all[#all + 1] = w end
    return cli.caisson(all)
  end

  it("tells of each connection, and what came of it is the program's", function()
    local r = run({}, "127.0.0.1:1", "::1:1")
    assert.equal("127.0.0.1 1|::1 1|", (r.err:gsub("connect: (%S+) port (%d+)\n", "%1 %2|")))
    local first = r.out:match "^(%d+)\n"
    assert.equal("111", first) -- ECONNREFUSED: it has the host's network, where nobody listens there
  end)

  it("lets it connect to what is allowed alone", function()
    local r = run({ "allow=127.,10.1.1.1" }, "127.0.0.2:1", "10.1.1.10:1", "128.0.0.1:1", "::1:1")
    assert.equal("111\n113\n113\n113\n", r.out)
    assert.equal("connect: 127.0.0.2 port 1\nconnect: 10.1.1.10 port 1: refused\nconnect: 128.0.0.1 port 1: refused\n"
      .. "connect: ::1 port 1: refused\n", r.err)
  end)
end)
