"""The commands, one module a noun; each has `register(app)`, and is imported only when called."""
