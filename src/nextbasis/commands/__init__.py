"""The command line `nextbasis`: one file a command.

A command's file has `add`, which tells argparse of its arguments, `run`, which does what they say,
and an EXAMPLE; `cli` lists the commands. What takes long to import is imported where it is needed,
because `--help` and completion read all of these files.
"""
