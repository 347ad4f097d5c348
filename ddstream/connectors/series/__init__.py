"""The connector of time series (csvts)."""
