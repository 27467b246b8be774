"""What every verb shares at the terminal."""
