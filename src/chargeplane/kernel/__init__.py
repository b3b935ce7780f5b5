"""Values everyone shares: ids, units, money, time, text, the error tree. Standard library and msgspec only."""
