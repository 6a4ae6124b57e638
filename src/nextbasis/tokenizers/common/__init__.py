"""What tokenizers share; it knows none of them."""
