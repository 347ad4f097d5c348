"""What becomes of an answer on its way out: a rendered template, a push to a network sink."""
