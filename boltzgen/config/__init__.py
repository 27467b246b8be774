"""The one place where a name in a file becomes an object."""
