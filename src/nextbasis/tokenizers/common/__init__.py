"""What several published tokenizers share; it knows none of them."""
