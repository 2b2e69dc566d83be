"""The seven stages: their order, what each reads, fingerprints and states. Pure; knows only `api`."""
