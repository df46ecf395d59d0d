"""What the `minisd` command does: a module for each group of commands, with its options and its work.

No module here imports torch, or anything that does, before a command needs it: `minisd --help` and a
mistyped option answer at once.
"""
