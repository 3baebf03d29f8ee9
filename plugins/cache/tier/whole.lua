-- KEYS: 2 the index  → whether it names everything that there is
return isWhole() and 1 or 0
