"""The commands and their options, one module for each family.

Each command imports what it does when it runs, so that `xinqiao --help` costs no more than typer: this is the one
place in the code base with imports inside functions.
"""
