-- Loaded by busted before every run. CAISSON_BUILD picks another build (sanitizers, another Lua).
local build = os.getenv("CAISSON_BUILD")
if build then package.cpath = build .. "/?.so;" .. package.cpath end
