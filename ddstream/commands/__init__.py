"""Commands of `ddstream` that have a module of their own, and the flags that all share."""
