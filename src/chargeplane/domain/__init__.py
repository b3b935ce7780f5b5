"""The rules: plain data, pure functions, transition tables. `now` is an argument."""
