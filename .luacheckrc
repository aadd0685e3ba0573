std = "luajit"
max_line_length = 130
unused_args = false
ignore = { "581" } -- not (a < b) also holds for what is no number
exclude_files = { "build", "build-*" }
-- table.unpack is looked for, where it is called so
files["spec"] = { std = "+busted", max_line_length = false, ignore = { "143" } }
-- declarations for editors and the reference: nothing in them is used
files["lua/meta"] = { max_line_length = false, ignore = { "211", "241" } }
