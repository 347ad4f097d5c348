"""Records that could not be answered with a prediction: read, sent back, dropped."""
