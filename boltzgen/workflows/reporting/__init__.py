"""What was made before, looked at again: what a folder is, what it says, and what to do with it next."""
