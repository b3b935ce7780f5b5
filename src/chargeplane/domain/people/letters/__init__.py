"""The words of mails: one file a language, `<ISO 639-1>.toml`; whoever adds one adds a language."""
