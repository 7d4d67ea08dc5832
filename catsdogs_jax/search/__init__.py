"""The search over settings: its space, its study, its trials, and populations in one program."""
