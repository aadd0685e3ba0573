---@meta caisson.core
---@class caisson.core
local core = {}

-- What happens to files (inotify(7)): `caisson watch` is made of it.

---A set of files and directories whose changes are told. A directory tells of what is right in it, by name; a file that
---an editor replaces by another (rename(2)) is seen in its directory alone.
---```lua
---local seen = assert(core.inotify())
---local number = assert(seen:add("recipes", { "close_write", "moved_to" }))
---core.poll({ { fd = seen:fileno() } }, 1)
---for _, event in ipairs(seen:read()) do print(event.name, event.moved_to) end
---```
---@return caisson.core.Inotify?, string?, integer?
function core.inotify() end

---@alias caisson.core.inotify.Word "close_write"|"modify"|"attrib"|"create"|"delete"|"moved_from"|"moved_to"|"delete_self"|"move_self"

---@class caisson.core.inotify.Event
---@field number? integer     what add() has answered; none with `overflow`
---@field name? string        of what is in a watched directory
---@field close_write? true   one of these, true: somebody who had it open to write has closed it
---@field modify? true
---@field attrib? true
---@field create? true
---@field delete? true
---@field moved_from? true
---@field moved_to? true
---@field delete_self? true
---@field move_self? true
---@field directory? true     it is about a directory
---@field unmounted? true     its file system is gone, and it with that
---@field overflow? true      more happened than the kernel keeps: anything may have changed
---@field ended? true         it is watched no longer: it was deleted, unmounted or removed

---@class caisson.core.Inotify
local Inotify = {}

---Watch a file or directory. One that is watched already has the same number, and these events from then on. `ENOSPC`: the
---user's watches are used up (fs.inotify.max_user_watches).
---@param path string
---@param events caisson.core.inotify.Word|caisson.core.inotify.Word[]
---@return integer? number, string?, integer?
function Inotify:add(path, events) end

---@param number integer
---@return boolean was_there
function Inotify:remove(number) end

---What has happened since the last time; it never waits.
---@return caisson.core.inotify.Event[]?, string?, integer?
function Inotify:read() end

---@return integer its descriptor, readable when something has happened
function Inotify:fileno() end

---@return true
function Inotify:close() end
