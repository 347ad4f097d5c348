"""The connector of tables (csv)."""
