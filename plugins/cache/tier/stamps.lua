-- KEYS: 2… the key of each. ARGV: 4… name…  → epoch, stamp…
local answer = { epoch }
for i = 4, #ARGV do answer[#answer + 1] = current(ARGV[i], KEYS[i - 2], STAMP_LIFE) end
return answer
