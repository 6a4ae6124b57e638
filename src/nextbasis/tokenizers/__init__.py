"""Images to tokens and back: made here, or published ones, a folder each, found by name."""
