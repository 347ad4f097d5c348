"""Models: how they are built and loaded, what they are given, how they are made ready."""
