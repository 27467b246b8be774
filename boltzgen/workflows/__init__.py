"""One typed function for each verb; also the Python interface."""
