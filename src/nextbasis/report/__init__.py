"""One page that shows a scale: the answer, pictures, tables, claims, and how all of it was made."""
