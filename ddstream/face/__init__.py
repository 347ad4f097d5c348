"""The synchronous face: the same Python objects over any Api."""
