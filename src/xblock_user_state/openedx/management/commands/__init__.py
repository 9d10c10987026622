"""Commands for operators of Open edX sites."""
