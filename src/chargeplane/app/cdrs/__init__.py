"""CDRs: written once, explained, taken back and told again."""
