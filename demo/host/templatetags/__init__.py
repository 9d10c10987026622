"""What the templates say in few words."""
