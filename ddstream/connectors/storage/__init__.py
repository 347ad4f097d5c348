"""What data sets are kept in: streams of samples, in memory or in the store on disk."""
