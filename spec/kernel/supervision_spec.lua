local t = require "support"
local s = require "support.supervision"
local caisson = require "caisson"
local core = t.core

describe("one process that holds many containers", function()
  if not t.is_root and not t.needs("userns") then return end

  setup(function() assert(caisson.run(s.recipe(), { args = { "/bin/true" } })) end) -- what is opened once for all
  local n = 30

  local function remains(before, children)
    assert.equal(before, t.count_fds())
    assert.equal(children, t.count_children())
  end

  it("by core.poll over their fds(), timeout() and step()", function()
    local before, children = t.count_fds(), t.count_children()
    local list, open = s.start_all(n, s.recipe())
    assert.equal(before + n + 1, t.count_fds()) -- a pidfd each, and the gate
    assert.equal(1, s.threads())
    open:close()
    local results, left = {}, n
    while left > 0 do
      local fds, whose, timeout = {}, {}, nil
      for i, running in ipairs(list) do
        if not results[i] then
          for _, f in ipairs(running:fds()) do
            fds[#fds + 1] = f
            whose[#fds] = i
          end
          local own = running:timeout()
          if own and (not timeout or own < timeout) then timeout = own end
        end
      end
      for k in pairs(assert(core.poll(fds, timeout))) do
        local i = whose[k]
        results[i] = results[i] or list[i]:step()
        if results[i] then left = left - 1 end
      end
    end
    for i, r in ipairs(results) do assert.equal(i % 7, r.code) end
    remains(before, children)
  end)

  it("by caisson.loop, with one descriptor more", function()
    local before, children = t.count_fds(), t.count_children()
    local loop = assert(caisson.loop())
    local list, open = s.start_all(n, s.recipe())
    local results, wrong = {}, 0
    for i, running in ipairs(list) do
      loop:add(running, function(r)
        results[#results + 1] = i
        if r.code ~= i % 7 then wrong = wrong + 1 end
      end)
    end
    assert.equal(before + n + 2, t.count_fds())
    assert.equal(1, s.threads())
    assert.equal(n, loop:run(0.05)) -- none has ended
    open:close()
    assert.equal(0, loop:run(30))
    assert.same({ n, 0 }, { #results, wrong })
    loop:close()
    remains(before, children)
  end)

  it("reads what they write, in step with all", function()
    local before = t.count_fds()
    local loop = assert(caisson.loop())
    local seen = {}
    for i = 1, n do
      local chunks = 0
      local running = assert(caisson.start(s.recipe(), { args = { "/bin/sh", "-c", "echo a" .. i .. "; head -c 200000 /dev/zero; echo b >&2" },
        stdout = function(text) chunks = chunks + #text end, stderr = "capture", stdin = "null" }))
      loop:add(running, function(r) seen[i] = r.stderr .. chunks end)
    end
    assert.equal(0, loop:run(30))
    for i = 1, n do assert.equal("b\n" .. 200000 + #("a" .. i) + 1, seen[i]) end
    loop:close()
    assert.equal(before, t.count_fds())
  end)

  it("keeps each one's limits, with nothing to read from any", function()
    local loop = assert(caisson.loop())
    local ends, start = {}, core.now()
    for i = 1, 10 do
      local running = assert(caisson.start(s.recipe(), { args = { "/bin/sleep", "100" }, limits = { time = 0.04 * i } }))
      loop:add(running, function(r) ends[#ends + 1] = { i = i, status = r.status, at = (core.now() - start) / 1e9 } end)
    end
    local busy = assert(caisson.start(s.recipe(), { args = { "/bin/sh", "-c", "while :; do :; done" }, limits = { cpu = 0.2 } }))
    local cpu
    loop:add(busy, function(r) cpu = r end)
    assert.equal(0, loop:run(30))
    assert.equal(10, #ends)
    table.sort(ends, function(a, b) return a.i < b.i end) -- a busy machine finds several due at once
    for k, e in ipairs(ends) do
      assert.same({ k, "time_limit" }, { e.i, e.status })
      assert.truthy(e.at >= 0.04 * k)
    end
    assert.equal("time_limit", cpu.status)
    loop:close()
  end)

  it("takes others in from a callback, and lets go of some", function()
    local loop = assert(caisson.loop())
    local ended = 0
    local function again(left)
      loop:add(assert(caisson.start(s.recipe(), { args = { "/bin/true" }, stdout = "capture" })), function(r)
        ended = ended + 1
        if left > 0 then again(left - 1) end
      end)
    end
    again(5)
    again(5)
    local kept = assert(caisson.start(s.recipe(), { args = { "/bin/sleep", "100" } }))
    loop:add(kept, error)
    assert.has_error(function() loop:add(kept, error) end, "it is in the loop already")
    assert.is_true(loop:remove(kept))
    assert.is_false(loop:remove(kept))
    assert.equal(0, loop:run(30))
    assert.equal(12, ended)
    kept:close()
    loop:close()
  end)

  it("tells of a stream's function that raises, and goes on with the others", function()
    local loop = assert(caisson.loop())
    local bad, message, good
    local raising = assert(caisson.start(s.recipe(), { args = { "/bin/echo", "x" }, stdout = function() error("mine", 0) end }))
    loop:add(raising, function(...) bad, message = ... end)
    loop:add(assert(caisson.start(s.recipe(), { args = { "/bin/true" } })), function(r) good = r.code end)
    assert.equal(0, loop:run(30))
    assert.same({ nil, "mine", 0 }, { bad, message, good })
    raising:close()
    loop:close()
  end)

  it("and programs in pooled containers", function()
    local pool = assert(caisson.pool { recipe = "sandbox", size = 3 })
    assert(pool:fill())
    local loop, out, left = assert(caisson.loop()), {}, 12
    local function next_in(c)
      if left == 0 then return end
      left = left - 1
      local running = assert(c:start { args = { "/bin/sh", "-c", "sleep 0.02; echo out" }, stdout = "capture" })
      loop:add(running, function(r)
        out[#out + 1] = r.stdout
        assert(c:reset())
        next_in(c)
      end)
    end
    local mine = {}
    for i = 1, 3 do mine[i] = assert(pool:get()) end
    for _, c in ipairs(mine) do next_in(c) end
    assert.equal(0, loop:run(30))
    assert.equal(("out\n"):rep(12), table.concat(out))
    for _, c in ipairs(mine) do c:destroy() end
    pool:close()
    loop:close()
  end)

  it("in a loop of luv's", function()
    if not t.needs("luv") then return end
    local uv, watch = require "luv", require("caisson.luv").watch
    watch(assert(caisson.start(s.recipe(), { args = { "/bin/true" } })), function() end)
    uv.run() -- what luv opens once for itself
    local before, children = t.count_fds(), t.count_children()
    local list, open = s.start_all(n, s.recipe(), { stdout = "capture" })
    local results, ticks = {}, 0
    for i, running in ipairs(list) do watch(running, function(r) results[i] = r.code end) end
    local timer = uv.new_timer()
    timer:start(10, 10, function()
      ticks = ticks + 1
      if ticks == 5 then open:close() end
      if #results == n then timer:close() end
    end)
    local limited
    watch(assert(caisson.start(s.recipe(), { args = { "/bin/sleep", "100" }, limits = { time = 0.1 } })), function(r) limited = r.status end)
    local stopped = assert(caisson.start(s.recipe(), { args = { "/bin/sleep", "100" } }))
    watch(stopped, error)()
    uv.run()
    stopped:close()
    for i = 1, n do assert.equal(i % 7, results[i]) end
    assert.equal("time_limit", limited)
    assert.truthy(ticks >= 5)
    remains(before, children)
  end)
end)

describe("core.poller", function()
  it("tells which of its descriptors are ready, and refuses what it can't watch", function()
    local before = t.count_fds()
    local poller = assert(core.poller())
    local r, w = assert(core.pipe())
    assert.is_true(poller:add(r))
    local ok, message, errno = poller:add(r)
    assert.same({ nil, core.errno.EEXIST }, { ok, errno })
    assert.truthy(message:find("watch descriptor", 1, true))
    assert.same({}, poller:wait(0))
    assert.same({}, core.poll({ { fd = poller:fileno() } }, 0))
    w:write("x")
    assert.same({ r:fileno() }, poller:wait(5))
    assert.same({ "r" }, core.poll({ { fd = poller:fileno() } }, 0))
    assert.is_true(poller:remove(r))
    assert.is_false(poller:remove(r))
    assert.same({}, poller:wait(0))
    assert.is_true(poller:add(r))
    w:close()
    assert.same({ r:fileno() }, poller:wait(5)) -- its end, too
    r:close()
    assert.same({}, poller:wait(0)) -- a closed one has left by itself
    local file = assert(core.open("/etc/passwd"))
    assert.equal(core.errno.EPERM, (select(3, poller:add(file))))
    file:close()
    poller:close()
    assert.has_error(function() poller:wait(0) end, "the poller is closed")
    assert.equal(before, t.count_fds())
  end)
end)
