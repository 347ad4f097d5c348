"""The engine: everything that has a life. It knows no transport."""
