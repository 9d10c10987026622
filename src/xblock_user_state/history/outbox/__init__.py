"""The outbox: history entries that wait in the state's database until they are shipped to the extended history."""
