"""The predict side of a worker: from a polled record to its written answer."""
