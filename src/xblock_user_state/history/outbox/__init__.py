"""Ships history entries from the outbox, in the state's database, to the extended history in its own database."""
