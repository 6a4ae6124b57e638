"""y = A x: bases, their objectives and their construction."""
