-- What changes under the hands of who makes a container: 500 starts each.
require "support.races"(500)
