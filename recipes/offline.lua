-- offline: everything as it is, but no network: does it work on a train, and does it phone home?
--
--   caisson run offline -- make test
return require("caisson").recipe {
  summary = "Everything as it is, but no network; a loopback is there",
  namespaces = { net = true },
  args = { "/bin/sh" },
}
