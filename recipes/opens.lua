-- opens: which files does it use? A list of what it read, wrote or looked for, at the end.
--
--   caisson run opens dir=. -- make
return require("caisson").recipe {
  summary = "List the files that a program reads, writes or looks for",
  extends = "sandbox",
  params = { under = { "path", default = "/", help = "only what is below this" } },
  build = function(p)
    local function look(call)
      for _, f in ipairs(call:paths()) do
        local path = f.path or ""
        if path:find(p.under, 1, true) == 1 then call:note(f.access .. " " .. path) end
      end
    end
    local function report(r)
      local seen, list = {}, {}
      for _, line in ipairs(r.trace_notes or {}) do
        if not seen[line] then list[#list + 1] = line end
        seen[line] = true
      end
      r.report = table.concat(list, "\n")
    end
    return { trace = { calls = { "@paths" }, decide = look }, result = report }
  end,
}
