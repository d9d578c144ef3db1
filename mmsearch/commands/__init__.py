"""The commands that have a module of their own. Like cli.py, which puts them together, they print and exit."""
