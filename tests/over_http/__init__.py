"""The service for tests of the remote client: in this process, or in a process of its own on the run's databases."""
