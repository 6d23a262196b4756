"""The `accq` command; one module per sub-command, which imports what it needs when it runs."""
