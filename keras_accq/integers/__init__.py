"""A file's integers as plain arrays and JSON, for other back ends, and a reference to run them."""
