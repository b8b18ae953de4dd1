local function counter()
  local n = 0
  return function() n = n + 1 return n end
end
local a, b = counter(), counter()
assert(a() == 1 and a() == 2 and b() == 1)

local words = {}
for word in ("the quick brown fox"):gmatch("%a+") do words[#words + 1] = word end
table.sort(words)
assert(table.concat(words, " ") == "brown fox quick the")
