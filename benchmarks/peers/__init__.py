"""Other libraries to compare with, in an environment and processes apart."""
