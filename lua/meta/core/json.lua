---@meta caisson.core
-- JSON text (RFC 8259).

---@class caisson.core
local core = {}

core.json = {}

---A value as JSON: string, number, boolean, or tables of such. A table with names is an object, its keys sorted by their
---bytes; another is a list, up to its first nil. What JSON can't hold is left out of an object, and null elsewhere. A
---string that is no UTF-8 is {"base64":"..."}. Raises where tables are more than 100 deep in each other.
---@param value any
---@param indent? integer an item a line, two spaces for each depth: how deep the line is that the text begins on; none: all
---in one line
---@return string text
function core.json.text(value, indent) end

---Any bytes: {"base64":"..."}.
---@param bytes string
---@return string text
function core.json.bytes(bytes) end

---@param s string
---@return boolean is is it UTF-8?
function core.json.is_utf8(s) end
