"""What answers each row: one file a module and interface; they translate and call the use cases. Each has a function
`handlers(...) -> dict[int, Handler]` by row numbers, which main puts together."""
