"""Images to tokens and back: a folder for every kind of tokenizer, found by name."""
