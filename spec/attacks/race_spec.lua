-- What changes under the hands of who makes a container: each in short (500 starts each: spec/long/attacks_race_spec.lua).
require "support.races"(8)
