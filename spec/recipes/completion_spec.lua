-- caisson completion in the shells themselves: typed at a terminal, with the Tab key.
local t = require "support"
local cli = require "support.cli"

local shells = {
  bash = { argv = { "bash", "--norc", "--noprofile", "-i" }, prepare = 'PS1="> "; eval "$(caisson completion bash)"' },
  zsh = { argv = { "zsh", "-f", "-i" },
    prepare = 'PS1="> "; autoload -Uz compinit; compinit -u -D; eval "$(caisson completion zsh)"' },
  fish = { argv = { "fish", "--no-config", "-i" }, prepare = "caisson completion fish | source" },
}

for name, shell in pairs(shells) do
  describe("the completion of " .. name, function()
    if not t.sh("command -v " .. name .. " || true"):find "/" then return pending("no " .. name .. " here") end
    local dir, terminal, sent

    setup(function()
      dir = t.sh("mktemp -d"):match "%S+"
      local function write(file, text)
        local f = assert(io.open(dir .. "/" .. file, "w"))
        f:write(text)
        f:close()
      end
      -- the command of this checkout, by its name
      local argv = {}
      for i, word in ipairs(cli.argv {}) do argv[i] = ("'%s'"):format(word) end
      t.sh(("mkdir %s/bin %s/'two words'"):format(dir, dir))
      write("bin/caisson", "#!/bin/sh\nexec " .. table.concat(argv, " ") .. ' "$@"\n')
      write("bin/show-words", '#!/bin/sh\nfor w in "$@"; do printf "[%s]" "$w"; done; echo "[end]"\n')
      t.sh(("chmod 755 %s/bin/*"):format(dir))
      write("mine.lua", [[return require("caisson").recipe { summary = "mine", extends = "sandbox",
        params = { speed = { { "quick", "slow" }, default = "slow" } } }]])
      write("notes.txt", "")
      local env = { "env", "-C", dir, "HOME=" .. dir, "PATH=" .. dir .. "/bin:" .. os.getenv "PATH",
        "TERM=" .. (name == "fish" and "xterm" or "dumb"), "LANG=C.UTF-8" }
      for _, word in ipairs(shell.argv) do env[#env + 1] = word end
      terminal = cli.at_terminal(env, { rows = 50, columns = 160 })
      sent = 0
      terminal:send(shell.prepare .. "; printf 'rea%s\\n' dy\n")
      terminal:expect "ready"
    end)
    teardown(function()
      terminal:close()
      t.sh("rm -rf " .. dir)
    end)

    -- The words of a line, once the shell has completed what was typed of it: with show-words in the place of the command.
    local function completed(line)
      sent = sent + 1
      -- the key; then Home, another command, and the line's end
      terminal:send(line .. ("\t\1show-words n%d \5\n"):format(sent))
      terminal:expect(("[n%d]"):format(sent))
      local words = {}
      for word in terminal:expect("[end]"):gmatch "%[([^%]]*)%]" do words[#words + 1] = word end
      return table.concat(words, " ")
    end

    it("completes commands, options and their values", function()
      assert.equal("caisson resume", completed "caisson resu")
      assert.equal("caisson --log-level", completed "caisson --log-l")
      assert.equal("caisson --log-level debug", completed "caisson --log-level d")
      assert.equal("caisson --log-level=debug", completed "caisson --log-level=d")
      assert.equal("caisson exec --no-new-privs", completed "caisson exec --no-n")
    end)

    it("completes recipes by name and by file", function()
      assert.equal("caisson run judge", completed "caisson run jud")
      assert.equal("caisson run mine.lua", completed "caisson run min")
      assert.equal("caisson plan ./mine.lua", completed "caisson plan ./min")
    end)

    it("completes parameters of the recipe, and their values", function()
      assert.equal("caisson run mine.lua speed=", completed "caisson run mine.lua sp")
      assert.equal("caisson run mine.lua speed=quick", completed "caisson run mine.lua speed=q")
      assert.equal("caisson run mine.lua write=yes", completed "caisson run mine.lua write=y")
      assert.equal("caisson run mine.lua dir=notes.txt", completed "caisson run mine.lua dir=not")
      -- zsh takes the slash away again where the line goes on
      assert.equal("caisson run mine.lua dir=two words", (completed("caisson run mine.lua dir=two"):gsub("/$", "")))
    end)

    it("completes the program's words as those of a command of their own", function()
      assert.equal("caisson run judge -- show-words", completed "caisson run judge -- show-w")
      assert.equal("caisson run judge dir=. -- cat notes.txt", completed "caisson run judge dir=. -- cat not")
    end)
  end)
end
