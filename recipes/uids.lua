-- uids: root of a whole range of ids, as package managers and image builders want to be.
--
--   caisson run uids -- sh -c 'touch f; chown 1000:33 f; ls -ln'
--
-- An ordinary user's range is what /etc/subuid says (newuidmap maps it); root's is nobody's.
return require("caisson").recipe {
  summary = "Root of a range of ids: chown, setuid and su work among them, nowhere else",
  extends = "sandbox",
  namespaces = { user = true },
  idmap = "range",
  user = 0,
  capabilities = { "chown", "setuid", "setgid", "fowner", "dac_override", "kill" },
  env = { USER = "root" },
}
