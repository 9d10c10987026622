"""Commands for operators. The names of the files in `commands` are the names of the commands."""
