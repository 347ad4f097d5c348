"""The connector of sparse rows (svm)."""
