"""What a request leaves behind for who looks into it later: ids and spans."""
