"""The connector of texts (txt), and what is learned from them."""
