"""What is not on this machine: data that are fetched, and stores of objects."""
