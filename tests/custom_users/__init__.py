"""Hosts' user models with keys of other types. The tests here run in a process of their own (`test_user_models`)."""
